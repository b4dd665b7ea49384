"""Lesions: the rest of a block worked out by hand, without effect on training or on other probes."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from harness.config.network import NetworkConfig
from harness.config.run import RunConfig
from harness.models import introspection
from harness.models.blocks import Block, BlockSpec
from harness.models.build import build
from harness.models.evaluation import Evaluation, evaluate
from harness.probes.base import Context
from harness.probes.lesions import Lesions, without_branch
from harness.records import paths
from harness.training.train import train
from support.helpers import tiny


def stripped(x):
    """Return x [B, 2, 4, 4] in the shape [B, 4, 2, 2], by option A."""
    return torch.cat([x[:, :, ::2, ::2], torch.zeros(len(x), 2, 2, 2)], dim=1)


def projected(block, x):
    return block.shortcut.norm(block.shortcut.conv(x))


@pytest.mark.parametrize(
    ("shortcut", "left"),
    [
        ("none", lambda block, x: stripped(x)),
        ("identity", lambda block, x: stripped(x)),
        ("projection", projected),
        ("scaling", lambda block, x: 0.5 * stripped(x)),
    ],
)
def test_a_lesion_leaves_only_the_shortcut(shortcut, left):
    """A plain block becomes the identity in the branch's shape. The ReLU after the addition stays."""
    torch.manual_seed(0)
    block = Block(NetworkConfig(20, shortcut=shortcut), BlockSpec(2, 4, 2)).eval()
    x = torch.randn(3, 2, 4, 4)
    with torch.no_grad():
        whole = block(x)
        with without_branch(block):
            lesioned = block(x)
        assert torch.equal(lesioned, functional.relu(left(block, x)))
        assert torch.equal(block(x), whole)
        assert not torch.equal(lesioned, whole)


class Toy(nn.Module):
    """Returns logits (x, 0) after two residual blocks whose branches add 1 and -10."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Identity()
        self.stages = nn.ModuleList([nn.Sequential(Adds(1.0), Adds(-10.0))])

    def forward(self, x):
        for block in self.stages[0]:
            x = block(x)
        return torch.cat([x, torch.zeros_like(x)], dim=1)


class Adds(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount, self.shortcut = amount, build(RunConfig(8), 1, 2).stages[0][0].shortcut

    def forward(self, x):
        return self.shortcut(x, torch.full_like(x, self.amount))


def test_a_net_worked_by_hand():
    """Images -4, 2, 12 with labels 1, 1, 0 become -13, -7, 3, all correct; without block 1 -14, -8, 2; without 2 -3, 3, 13."""
    net, images, labels = Toy(), torch.tensor([[-4.0], [2.0], [12.0]]), torch.tensor([1, 1, 0])

    def evaluation():
        return evaluate(net, [(images, labels)], torch.no_grad())

    assert evaluation().error == 0
    for step, expected in ((4, []), (5, [0.0, 100 / 3])):
        context = Context(net, step, 5, images, labels, [], introspection.blocks(net), evaluation)
        with Lesions().watch(context) as rows:
            pass
        assert [row["test_error"] for row in rows] == pytest.approx(expected)
    assert [(row["block"], row["name"], row["stage"]) for row in rows] == [(1, "stages.0.0", 1), (2, "stages.0.1", 1)]
    assert evaluation().error == 0


@pytest.mark.parametrize("choices", [{"shortcut": "none"}, {"shortcut": "projection_all", "order": "preactivation"}])
def test_it_affects_neither_the_run_nor_other_probes(choices, tmp_path):
    every = train(tiny(**choices, probes=("layers", "blocks", "lesions")), tmp_path)
    bare = train(tiny(**choices), tmp_path)
    assert every.layers.equals(bare.layers)
    assert every.blocks.equals(bare.blocks)
    assert every.epochs.drop(columns="seconds").equals(bare.epochs.drop(columns="seconds"))
    with_lesions, without = (load_file(run.folder / paths.WEIGHTS) for run in (every, bare))
    assert all(torch.equal(with_lesions[name], without[name]) for name in with_lesions)
    lesions = every.probe("lesions")
    assert lesions["block"].tolist() == [1, 2, 3]
    assert (lesions["step"] == 12).all()
    assert lesions["test_loss"].nunique() == 3


def test_transitions_of_a_densenet_stay(tmp_path):
    config = tiny(depth=10, family="densenet", width="auto", growth=4, probes=("lesions",))
    assert train(config, tmp_path).probe("lesions")["name"].tolist() == ["stages.0.0", "stages.1.1", "stages.2.1"]


def test_an_evaluation_calls_no_hooks_and_restores_them():
    net, seen = nn.Linear(1, 2), []
    net.register_forward_hook(lambda *_: seen.append(1))
    assert isinstance(evaluate(net, [(torch.ones(1, 1), torch.tensor([0]))], torch.no_grad()), Evaluation)
    assert not seen
    net(torch.ones(1, 1))
    assert seen
