"""Equal steps: values worked by hand, independence of the gradient's scale, and gradients restored for probes."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.config.run import RunConfig, UpdateScaling
from harness.models.build import build
from harness.training.optimizer import make_optimizer
from harness.training.train import train
from harness.training.update_scaling import TRUST_COEFFICIENT, rescale, scaled_gradients
from support.helpers import tiny, tiny_schedule


def test_worked_by_hand():
    """With |w| = 5 and |g| = 2, g becomes (r 5 / 2) g; for a norm layer with four values it becomes (r 2 / |g|) g."""
    weight, gradient = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, -2.0]])
    assert rescale(weight, gradient).tolist() == [[0.0, pytest.approx(-5 * TRUST_COEFFICIENT)]]
    gamma, gamma_gradient = torch.zeros(4), torch.tensor([0.0, 0.0, 30.0, -40.0])
    assert rescale(gamma, gamma_gradient).tolist() == pytest.approx([0.0, 0.0, 1.2 * TRUST_COEFFICIENT, -1.6 * TRUST_COEFFICIENT])


@pytest.mark.parametrize("power", [-80, 40])
def test_the_size_of_one_layers_gradient_changes_nothing(power):
    """2^-80 is about 1e-24; multiplying by a power of two is exact."""
    torch.manual_seed(0)
    weight, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    assert torch.equal(rescale(weight, gradient * 2.0**power), rescale(weight, gradient))


@pytest.mark.parametrize("size", [1e-30, 1e-42, 1e38])
def test_gradients_far_outside_float32s_reach_of_squares_are_scaled(size):
    weight = torch.full((2, 3), 0.5)
    scaled = rescale(weight, torch.full((2, 3), size))
    expected = [0.5 * TRUST_COEFFICIENT] * 6
    assert scaled.flatten().tolist() == pytest.approx(expected, rel=1e-3)  # 1e-42 is subnormal, with three digits


def test_zero_stays_zero_and_what_is_not_finite_stays_so():
    weight = torch.ones(2, 2)
    assert torch.equal(rescale(weight, torch.zeros(2, 2)), torch.zeros(2, 2))
    assert not rescale(torch.zeros(2, 2), torch.ones(2, 2)).any()
    for wrong in (math.inf, math.nan):
        assert not torch.isfinite(rescale(weight, torch.tensor([[wrong, 1.0], [1.0, 1.0]]))).all()


def test_afterwards_every_parameter_has_its_own_gradient_back():
    layer = nn.Linear(2, 2)
    layer.weight.grad = gradient = torch.full((2, 2), 3.0)
    with scaled_gradients(layer.parameters()):
        assert layer.weight.grad is not gradient
        assert layer.bias.grad is None
    assert layer.weight.grad is gradient
    assert gradient.eq(3.0).all()


def test_layout_and_type_are_kept():
    weight = torch.randn(4, 4, 3, 3).to(memory_format=torch.channels_last)
    scaled = rescale(weight, torch.randn(4, 4, 3, 3).to(memory_format=torch.channels_last))
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert scaled.dtype == torch.float32


def test_every_parameter_of_a_net_takes_its_share_of_a_step():
    """A plain net of 110 layers, whose gradients differ by orders of magnitude between the first and the last layer."""
    config = RunConfig(110, shortcut="none", width=4)
    net = build(config, 1, 10)
    optimizer = make_optimizer(net, replace(config, schedule=replace(config.schedule, weight_decay=0.0)))
    nn.functional.cross_entropy(net(torch.randn(16, 1, 8, 8)), torch.arange(16) % 10).backward()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    sizes = [float(parameter.grad.double().norm()) for parameter in net.parameters() if parameter.ndim > 1]
    assert max(sizes) > 1e3 * min(sizes) > 0
    with scaled_gradients(net.parameters()):
        optimizer.step()
    for name, parameter in net.named_parameters():
        moved = float((parameter.detach() - before[name]).double().norm())
        whole = float(before[name].norm()) if parameter.ndim > 1 else math.sqrt(parameter.numel())
        share = config.schedule.learning_rate * TRUST_COEFFICIENT
        assert moved == pytest.approx(share * whole, rel=1e-3), name  # w - t g in float32


def test_the_probe_sees_the_gradient_as_it_is_and_the_update_as_it_was(tmp_path):
    """At step 0 the nets are equal and so are their gradients; the updates have equal relative sizes."""
    schedule = tiny_schedule(weight_decay=0.0)
    plain = train(tiny(schedule=schedule), tmp_path).layers.query("step == 0")
    scaled = train(tiny(schedule=schedule, update_scaling="layerwise"), tmp_path).layers.query("step == 0")
    assert scaled["grad_norm"].tolist() == plain["grad_norm"].tolist()
    share = scaled["update_norm"] / scaled["weight_norm"]
    assert share.tolist() == pytest.approx([0.02 * TRUST_COEFFICIENT] * len(share), rel=1e-3)
    assert plain["update_norm"].tolist() != pytest.approx(scaled["update_norm"].tolist(), rel=0.1)


def test_the_choice_is_part_of_a_runs_identity_and_record():
    scaled = RunConfig(device="cpu", update_scaling="layerwise")
    assert scaled.update_scaling is UpdateScaling.layerwise
    assert scaled.choices()["update_scaling"] == "layerwise"
    assert scaled.identity() != RunConfig(device="cpu").identity() == RunConfig(device="cpu", update_scaling="none").identity()
