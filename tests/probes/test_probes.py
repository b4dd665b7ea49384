"""Probes against gradients worked out by hand, naive autograd in float64, and values that underflow in float32 norms."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from harness.config.registry import PROBE
from harness.config.run import RunConfig
from harness.models import introspection
from harness.models.build import build
from harness.models.evaluation import Evaluation
from harness.probes.base import Context, fetch_scalars, norms, probe_steps


class Chain(nn.Module):
    """Three 1x1 convolutions on single values: y = w3 w2 w1 x, each followed by an identity norm."""

    def __init__(self, weights):
        super().__init__()
        for number, weight in enumerate(weights, 1):
            conv = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.constant_(conv.weight, weight)
            setattr(self, f"conv{number}", conv)
            setattr(self, f"norm{number}", nn.Identity())

    def forward(self, x):
        for number in (1, 2, 3):
            x = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(x))
        return x


def watched(model, name, x, loss, step=0, steps=10, update=None):
    """Return the rows of a probe around one backward pass and, if given, an update."""
    layers = introspection.layers(model)
    blocks = introspection.blocks(model) if hasattr(model, "stem") else []
    none = torch.zeros(len(x), dtype=torch.long)
    context = Context(model, step, steps, x, none, layers, blocks, lambda: Evaluation(0.0, 0.0))
    with PROBE[name]().watch(context) as rows:
        loss(model(x)).backward()
        if update:
            update(model)
    fetch_scalars(rows)
    return rows


def test_gradients_of_a_three_layer_net_worked_by_hand():
    """L = sum over x in (1, 3) of w3 w2 w1 x, with w = (2, 3, 5): dL/dw_k = 4 * (product of the other two)."""
    model = Chain([2.0, 3.0, 5.0])
    x = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    rows = watched(model, "layers", x, torch.sum)
    assert [row["grad_norm"] for row in rows] == [4 * 15, 4 * 10, 4 * 6]
    assert [row["weight_norm"] for row in rows] == [2, 3, 5]
    assert [row["nonzero"] for row in rows] == [1, 1, 1]
    assert [row["layer"] for row in rows] == [1, 2, 3]
    assert [row["response_std"] for row in rows] == pytest.approx([2, 6, 30])  # of (2, 6), (6, 18), (30, 90)


def test_the_update_norm_is_that_of_the_change_of_the_weights():
    def step(model):
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.25 * p.grad

    rows = watched(Chain([2.0, 3.0, 5.0]), "layers", torch.ones(1, 1, 1, 1), torch.sum, update=step)
    assert [row["update_norm"] for row in rows] == [0.25 * 15, 0.25 * 10, 0.25 * 6]
    assert [row["weight_norm"] for row in rows] == [2, 3, 5]
    last = watched(Chain([2.0, 3.0, 5.0]), "layers", torch.ones(1, 1, 1, 1), torch.sum, step=10)
    assert [row["update_norm"] for row in last] == [None] * 3


def test_a_tensor_of_1e_28_has_a_norm():
    tiny = torch.full((16, 16, 3, 3), 1e-28)
    assert tiny.norm() == 0  # a float32 norm underflows
    (norm,) = norms([tiny])
    assert float(norm) == pytest.approx(1e-28 * math.sqrt(tiny.numel()), rel=1e-6)


def test_the_count_of_nonzero_elements_distinguishes_underflow_from_small_gradients():
    small = watched(Chain([1e-20, 1e-20, 1e-8]), "layers", torch.ones(1, 1, 1, 1), torch.sum)
    assert [row["nonzero"] for row in small] == [1, 1, 1]
    assert small[0]["grad_norm"] == pytest.approx(1e-28, rel=1e-6)
    gone = watched(Chain([1e-20, 1e-30, 1e-30]), "layers", torch.ones(1, 1, 1, 1), torch.sum)
    assert [row["nonzero"] for row in gone] == [0, 0, 0]
    assert gone[0]["grad_norm"] == 0


@pytest.mark.parametrize("shortcut", ["none", "identity", "projection"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_both_probes_agree_with_naive_autograd_in_float64(shortcut, norm):
    model = build(RunConfig(depth=8, width=4, shortcut=shortcut, norm=norm), 1, 10).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 1, 8, 8, generator=generator, dtype=torch.float64)

    def loss(logits):
        return nn.functional.cross_entropy(logits, torch.arange(16) % 10)

    rows = watched(model, "layers", x, loss)
    named = dict(model.named_parameters())
    for row in rows:
        gradient = named[f"{row['name']}.weight"].grad
        assert row["grad_norm"] == pytest.approx(sum(float(g) ** 2 for g in gradient.flatten()) ** 0.5, rel=1e-12)
        assert row["nonzero"] == int((gradient != 0).sum())
        assert row["elements"] == gradient.numel()

    block_rows = watched(model, "blocks", x, loss)
    outputs, value = [], model.stem(x)
    outputs.append(value)
    for stage in model.stages:
        for block in stage:
            value = block(value)
            outputs.append(value)
    gradients = torch.autograd.grad(loss(model.linear(value.mean((2, 3)))), outputs)
    for row, output, gradient in zip(block_rows, outputs, gradients, strict=True):
        assert row["forward_norm"] == pytest.approx(float(output.detach().norm()), rel=1e-12)
        assert row["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-12)
        assert row["nonzero"] == int((gradient != 0).sum())


def test_responses_are_taken_after_the_norm():
    """At initialisation gamma is 1 and beta 0, so in training mode every response has standard deviation 1."""
    model = build(RunConfig(depth=20), 1, 10)
    rows = watched(model, "layers", torch.randn(64, 1, 8, 8), torch.sum)
    convolutions = [row["response_std"] for row in rows if row["kind"] == "conv"]
    assert convolutions == pytest.approx([1.0] * 19, rel=1e-3)  # eps of the norm is 1e-5, at variances above 0.01


def test_a_probe_leaves_no_hook_behind():
    model = build(RunConfig(depth=8), 1, 10)
    for name in ("layers", "blocks"):
        watched(model, name, torch.randn(4, 1, 8, 8), torch.sum)
    assert not any(module._forward_hooks for module in model.modules())


def test_probed_steps_are_dense_at_first_then_geometric_and_include_the_end():
    steps = probe_steps(64_000)
    assert steps[:11] == list(range(11))
    assert steps[-1] == 64_000
    ratios = [after / before for before, after in pairwise(steps[11:])]
    assert max(ratios) < 1.35
    assert len(steps) <= 60
    assert probe_steps(5) == [0, 1, 2, 3, 4, 5]
    assert probe_steps(10) == list(range(11))
    assert probe_steps(11) == list(range(12))
