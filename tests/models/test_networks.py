"""All networks, against counts from the papers, equations written out again, and the nets of torchvision."""

import csv
import re
from collections import Counter
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from torch.nn import functional

from harness.config.blocks import BlockKind, Order
from harness.config.execution import ExecutionConfig
from harness.config.network import Family, NetworkConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.models import introspection
from harness.models.blocks import Block, BlockSpec, survival_probabilities
from harness.models.build import build
from harness.models.shortcuts import make_shortcut
from harness.models.summary import summarize
from support import arithmetic

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = sorted(path.stem for path in (ROOT / "conf" / "variant").glob("*.yaml") if path.stem != "none")
with (ROOT / "tests" / "golden" / "networks.csv").open() as file:
    GOLDEN = {row["variant"]: row for row in csv.DictReader(file)}
ORDERS = list(Order)
CHOSEN = {
    "scaling": {"shortcut_scale": 0.3, "branch_scale": 0.8},
    "exclusive_gate": {"gate_bias": -1.5},
    "shortcut_only_gate": {"gate_bias": 0.5},
    "dropout": {"shortcut_dropout": 0.25},
}


def variant(name):
    return NetworkConfig(**yaml.safe_load((ROOT / "conf" / "variant" / f"{name}.yaml").read_text()))


def by_arithmetic(config, side, classes):
    if config.family == Family.densenet:
        return arithmetic.densenet_bc(config.depth, config.growth, side, classes)
    return arithmetic.residual(
        *(config.stage_blocks, config.width, config.block is BlockKind.bottleneck, config.shortcut, side, classes),
        large=config.family == Family.imagenet,
        full_preactivation=config.order is Order.preactivation,
    )


def test_every_variant_is_in_the_golden_table():
    assert set(GOLDEN) == set(VARIANTS)


DEEP = ("1001", "1202", "250")
"""Weighted layers of nets whose summary takes seconds."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (GOLDEN[name]["weighted_layers"] in DEEP)) for name in VARIANTS]
)
def test_a_variants_parameters_flops_and_layers_are_those_of_its_paper(name):
    row, config = GOLDEN[name], variant(name)
    side, classes = (224, 1000) if config.family == Family.imagenet else (32, 10)
    summary, counted = summarize(config, 3, side, classes, batch_size=2), by_arithmetic(config, side, classes)
    assert (summary.parameters, summary.flops, summary.weighted_layers) == (
        int(row["parameters"]),
        2 * int(row["multiply_adds"]),
        int(row["weighted_layers"]),
    )
    assert (summary.parameters, summary.flops // 2, summary.weighted_layers) == (
        counted.parameters,
        counted.multiply_adds,
        counted.layers,
    )
    assert summary.weighted_layers == config.depth
    if published := row["published_parameters"]:
        assert published in (str(summary.parameters), *(f"{summary.parameters / 1e6:.{digits}f}M" for digits in (1, 2)))
    if published := row["published_multiply_adds"]:
        assert summary.flops / 2 == pytest.approx(float(published), rel=0.02)  # the paper gives two digits, 3.86 as 3.8


@pytest.mark.parametrize(
    "name", [name for name in VARIANTS if GOLDEN[name]["weighted_layers"] in ("20", "110", "18", "50", "100")]
)
def test_a_plain_twin_has_the_parameters_of_its_net_without_the_shortcuts(name):
    """Shortcuts without parameters make no difference."""
    config = variant(name)
    if config.family == Family.densenet:
        return
    own = summarize(config, 3, 32, 10, 2)
    on_shortcuts = sum(row.parameters for row in own.rows if ".shortcut" in row.name)
    plain = NetworkConfig(config.depth, "none", family=config.family, block=config.block, order=config.order)
    assert own.parameters - on_shortcuts == summarize(plain, 3, 32, 10, 2).parameters


@pytest.mark.parametrize(("depth", "field"), [(50, 483), (101, 1027), (152, 1507)])
def test_receptive_fields_are_the_published_ones(depth, field):
    """Araujo et al. 2019 (Distill, "Computing Receptive Fields of Convolutional Neural Networks"): ResNet v1."""
    summary = summarize(NetworkConfig(depth, "projection", family=Family.imagenet), 3, 224, 1000, 1)
    assert summary.rows[-2].receptive_field == field


NAMES = [
    (r"^stem\.conv", "conv1"),
    (r"^stem\.norm", "bn1"),
    (r"^linear", "fc"),
    (r"^stages\.(\d)\.(\d+)\.shortcut\.conv", r"layer\1.\2.downsample.0"),
    (r"^stages\.(\d)\.(\d+)\.shortcut\.norm", r"layer\1.\2.downsample.1"),
    (r"^stages\.(\d)\.(\d+)\.conv(\d)", r"layer\1.\2.conv\3"),
    (r"^stages\.(\d)\.(\d+)\.norm(\d)", r"layer\1.\2.bn\3"),
]


def their_name(ours):
    """Return torchvision's name of a tensor; its stages count from 1."""
    for pattern, theirs in NAMES:
        name, count = re.subn(pattern, theirs, ours)
        if count:
            return re.sub(r"^layer(\d)", lambda match: f"layer{int(match[1]) + 1}", name)
    raise AssertionError(ours)


@pytest.mark.parametrize("depth", [18, 34, 50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))])
def test_torchvisions_weights_give_torchvisions_logits(depth):
    """In training mode, and in evaluation mode with the statistics of that batch, so that no channel is dead."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7).double()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    stride = "middle" if depth >= 50 else "first"  # as in torchvision's bottlenecks
    config = RunConfig(depth, "projection", family="imagenet", bottleneck_stride=stride)
    ours = build(config, 3, 7).double()

    def loaded(net):
        weights = theirs.state_dict()
        net.load_state_dict({name: weights[their_name(name)] for name in net.state_dict()})
        return net.train(theirs.training)

    with torch.no_grad():
        assert (loaded(ours)(images) - theirs(images)).abs().max() < 1e-9
        expected = theirs.eval()(images)
        assert expected.std(0).min() > 1e-3
        assert (loaded(ours)(images) - expected).abs().max() < 1e-9
        if depth >= 50:
            paper = build(replace(config, bottleneck_stride="first"), 3, 7).double()
            assert (loaded(paper)(images) - expected).abs().max() > 1e-3


def block_of(order, shortcut="identity", block="basic", shape=(8, 8, 1), first=False, last=False):
    """Return a block in float64 with random parameters, so that no norm is the identity, and a random input."""
    torch.manual_seed(1)
    config = NetworkConfig(20, shortcut, block=block, order=order, **CHOSEN.get(shortcut, {}))
    made = Block(config, BlockSpec(*shape, first=first, last=last)).double()
    for parameter in made.parameters():
        parameter.data.normal_(0, 0.3)
    return made, torch.randn(4, shape[0], 6, 6, dtype=torch.float64)


def restated(block, order, x, first, last):
    """He et al. 2016, Fig. 4, for a basic block with an identity shortcut."""
    relu = functional.relu
    conv1, conv2 = block.conv1, block.conv2
    if order is Order.original:
        return relu(x + block.norm2(conv2(relu(block.norm1(conv1(x))))))
    if order is Order.bn_after_addition:
        return relu(block.after(x + conv2(relu(block.norm1(conv1(x))))))
    if order is Order.relu_before_addition:
        return x + relu(block.norm2(conv2(relu(block.norm1(conv1(x))))))
    if order is Order.relu_only_preactivation:
        y = x + block.norm2(conv2(relu(block.norm1(conv1(x if first else relu(x))))))
        return relu(y) if last else y
    y = x + conv2(relu(block.norm1(conv1(x if first else relu(block.before(x))))))
    return relu(block.after(y)) if last else y


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("first", "last"), [(False, False), (True, False), (False, True)])
def test_an_order_of_activation_is_the_papers_equation(order, first, last):
    block, x = block_of(order, first=first, last=last)
    assert torch.equal(block(x), restated(block, order, x, first, last))


def test_the_five_orders_differ():
    outputs = [block_of(order) for order in ORDERS]
    values = [block(outputs[0][1]) for block, _ in outputs]
    for number, value in enumerate(values):
        assert not any(torch.allclose(value, other) for other in values[number + 1 :])


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_plain_nets_are_the_same_function_in_every_order(block):
    torch.manual_seed(2)
    images = torch.randn(8, 3, 16, 16, dtype=torch.float64)
    nets = [build(RunConfig(20, "none", block=block, order=order, width=4), 3, 10).double() for order in ORDERS]
    expected = nets[0](images)
    for net in nets[1:]:
        assert torch.equal(net(images), expected)


def test_an_identity_path_through_preactivation_is_untouched():
    """He et al. 2016, eq. 4: x_L = x_l plus the sum of the branches, between two blocks of one stage."""
    net = build(RunConfig(32, order="preactivation"), 3, 10).double()
    outputs, branches, images = [], [], torch.randn(4, 3, 8, 8, dtype=torch.float64)
    for block in net.stages[0]:
        block.norm2.register_forward_hook(lambda module, inputs, output: branches.append(output))
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    net(images)
    assert (outputs[-1] - (outputs[0] + sum(branches[1:]))).abs().max() < 1e-12


def sigmoid_gate(shortcut, x):
    """g(x) = sigmoid(W x + b): a 1x1 convolution is a matrix product at every position."""
    weight = shortcut.gate.weight[:, :, 0, 0]
    x = x[:, :, :: shortcut.stride, :: shortcut.stride]
    return 1 / (1 + torch.exp(-(torch.einsum("oi,bihw->bohw", weight, x) + shortcut.gate.bias[None, :, None, None])))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 16, 2)])
@pytest.mark.parametrize("name", ["scaling", "exclusive_gate", "shortcut_only_gate"])
def test_an_impeded_shortcut_is_the_papers_equation(name, shape):
    torch.manual_seed(3)
    into, out, stride = shape
    shortcut = make_shortcut(NetworkConfig(20, name, **CHOSEN[name]), *shape).double()
    x = torch.randn(2, into, 6, 6, dtype=torch.float64)
    branch = torch.randn(2, out, 6 // stride, 6 // stride, dtype=torch.float64)
    h = torch.zeros_like(branch)
    h[:, :into] = x[:, :, ::stride, ::stride]
    if name == "scaling":
        expected = 0.8 * branch + 0.3 * h
    else:
        gate = sigmoid_gate(shortcut, x)
        expected = branch * (gate if name == "exclusive_gate" else 1) + (1 - gate) * h
    assert (shortcut(x, branch) - expected).abs().max() < 1e-12


def test_a_gate_starts_at_its_bias():
    """With b = -6 and zero weights the shortcut keeps 1 - sigmoid(-6) = 0.9975 of its input."""
    net = build(RunConfig(8, "shortcut_only_gate", gate_bias=-6), 3, 10)
    biases = [layer_bias for name, layer_bias in net.state_dict().items() if name.endswith("gate.bias")]
    assert len(biases) == 3
    assert all((bias == -6).all() for bias in biases)
    shortcut = net.stages[0][0].shortcut
    x, branch = torch.zeros(1, 16, 1, 1), torch.zeros(1, 16, 1, 1)
    x[0, 0] = 1.0
    shortcut.gate.weight.data.zero_()
    assert float(shortcut(x, branch).detach()[0, 0]) == pytest.approx(0.9975274, rel=1e-6)


def test_dropout_acts_on_the_shortcut_alone_and_only_in_training():
    shortcut = make_shortcut(NetworkConfig(20, "dropout", shortcut_dropout=0.5), 4, 4, 1)
    x, branch = torch.ones(64, 4, 16, 16), torch.full((64, 4, 16, 16), 10.0)
    torch.manual_seed(4)
    values = shortcut(x, branch)
    assert set(values.unique().tolist()) == {10.0, 12.0}
    assert float((values == 12).float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 65536**0.5)
    assert (shortcut.eval()(x, branch) == 11).all()


@pytest.mark.parametrize("order", [Order.original, Order.preactivation])
def test_a_projection_starts_from_the_activated_input_in_preactivation(order):
    block, x = block_of(order, "projection", shape=(8, 16, 2))
    seen = []
    block.shortcut.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    block(x)
    expected = functional.relu(block.before(x)) if order is Order.preactivation else x
    assert torch.equal(seen[0], expected)
    assert isinstance(block.shortcut.norm, torch.nn.BatchNorm2d) == (order is Order.original)


def test_bottlenecks_are_1x1_3x3_1x1_with_four_times_the_channels():
    for stride, where in (("first", "conv1"), ("middle", "conv2")):
        net = build(RunConfig(50, "projection", family="imagenet", bottleneck_stride=stride), 3, 10)
        block = net.stages[1][0]
        assert [tuple(getattr(block, f"conv{n}").weight.shape) for n in (1, 2, 3)] == [
            (128, 256, 1, 1),
            (128, 128, 3, 3),
            (512, 128, 1, 1),
        ]
        assert [n for n in (1, 2, 3) if getattr(block, f"conv{n}").stride == (2, 2)] == [int(where[-1])]


def test_survival_falls_linearly_to_the_last_block():
    """Huang et al. 2016, section 4: with 54 blocks down to 0.5, about 40 blocks survive on average."""
    probabilities = survival_probabilities(0.5, 54)
    assert probabilities[0] == pytest.approx(1 - 0.5 / 54)
    assert probabilities[-1] == 0.5
    assert sum(probabilities) == pytest.approx(40.25)
    net = build(RunConfig(110, survival=0.5), 3, 10)
    assert [block.module.survival for block in introspection.blocks(net)[1:]] == probabilities


def test_a_block_is_dropped_for_the_whole_batch_and_weighted_by_its_survival_probability_in_evaluation():
    torch.manual_seed(5)
    block = Block(NetworkConfig(20), BlockSpec(4, 4, 1, survival=0.7))
    with torch.no_grad():
        x = torch.rand(3, 4, 5, 5)
        identity = functional.relu(x)
        kept = [not torch.equal(block(x), identity) for _ in range(2000)]
        assert sum(kept) / 2000 == pytest.approx(0.7, abs=4 * (0.21 / 2000) ** 0.5)
        block.eval()
        branch = block.norm2(block.conv2(functional.relu(block.norm1(block.conv1(x)))))
        assert torch.allclose(block(x), functional.relu(x + 0.7 * branch))


def test_a_dropped_block_has_no_gradient():
    torch.manual_seed(6)
    net = build(RunConfig(8, survival=0.01), 3, 10)
    torch.manual_seed(0)
    net(torch.randn(4, 3, 8, 8)).sum().backward()
    assert not net.stages[2][0].conv1.weight.grad.any()
    assert net.stem.conv.weight.grad.any()


def test_dense_layers_pass_on_their_whole_input():
    net = build(RunConfig(22, family="densenet"), 3, 10).double()
    layer, x = net.stages[0][0], torch.randn(2, 24, 4, 4, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (2, 36, 4, 4)
    assert torch.equal(out[:, :24], x)
    branch = layer.conv2(functional.relu(layer.norm1(layer.conv1(functional.relu(layer.before(x))))))
    assert torch.equal(out[:, 24:], branch)


STEPS = [
    {"depth": 20},
    {"depth": 20, "block": "bottleneck", "shortcut": "projection"},
    *({"depth": 14, "shortcut": name} for name in ("none", "projection_all", *CHOSEN)),
    *({"depth": 14, "order": order} for order in ORDERS[1:]),
    {"depth": 14, "order": "preactivation", "shortcut": "projection"},
    {"depth": 14, "survival": 0.5},
    {"depth": 14, "norm": "none"},
    *({"depth": depth, "family": "imagenet", "width": 8} for depth in (18, 50)),
    {"depth": 50, "family": "imagenet", "width": 8, "shortcut": "none", "bottleneck_stride": "middle"},
    {"depth": 22, "family": "densenet"},
]


def lowers_its_loss(config, size):
    """Assert that a step of size t against the gradient g lowers the loss by about t |g|^2."""
    torch.manual_seed(7)
    net = build(config, 3, 10).double()
    images, labels = torch.randn(8, 3, size, size, dtype=torch.float64), torch.arange(8)

    def loss():
        torch.manual_seed(8)  # the same draws of dropout and stochastic depth in every pass
        return functional.cross_entropy(net(images), labels)

    before = loss()
    before.backward()
    before = float(before.detach())
    expected = 1e-4 * before
    step = expected / sum(float((p.grad**2).sum()) for p in net.parameters())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= step * parameter.grad
        assert before - float(loss()) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("choices", STEPS, ids=lambda choices: "-".join(str(getattr(v, "value", v)) for v in choices.values()))
def test_a_training_step_lowers_the_loss_on_a_fixed_batch(choices):
    lowers_its_loss(RunConfig(**choices), 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_step_of_every_variant_lowers_its_loss(name):
    config = variant(name)
    chosen = {f.name: getattr(config, f.name) for f in fields(NetworkConfig)}
    lowers_its_loss(
        RunConfig(**chosen, execution=ExecutionConfig(activation_checkpointing=config.depth > 1000)),
        32 if config.family == Family.imagenet else 8,
    )


def count_call(calls, name, *_):
    calls[name] += 1


@pytest.mark.parametrize("choices", STEPS, ids=lambda choices: "-".join(str(getattr(v, "value", v)) for v in choices.values()))
def test_activation_checkpointing_is_bit_equal(choices):
    """Logits, gradients, running statistics and random draws are the same, and forward hooks are called once per pass."""
    results = []
    for recompute in (False, True):
        net = build(RunConfig(**choices, execution=ExecutionConfig(activation_checkpointing=recompute)), 3, 10)
        calls = Counter()
        for layer in introspection.layers(net):
            layer.response.register_forward_hook(partial(count_call, calls, layer.name))
        torch.manual_seed(9)
        logits = net(torch.randn(8, 3, 16, 16))
        functional.cross_entropy(logits, torch.arange(8)).backward()
        assert calls == Counter(layer.name for layer in introspection.layers(net))
        gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
        results.append({"logits": logits.detach()} | gradients | dict(net.named_buffers()))
    plain, checkpointed = results
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"depth": 44, "block": "bottleneck"}, "have depth 9n+2; nearest are 38 and 47, or block=basic"),
        ({"depth": 20, "family": "imagenet"}, "this family has depth 18 or 34 or 50 or 101 or 152; nearest are 18 and 34"),
        ({"depth": 34, "family": "imagenet", "block": "bottleneck"}, "nearest are 50 and 101, or block=basic"),
        ({"depth": 100, "family": "densnet"}, "allowed: cifar, imagenet, densenet; did you mean densenet?"),
        ({"depth": 20, "family": "densenet"}, "this family has depth 6n+4; nearest are 16 and 22"),
        ({"depth": 22, "family": "densenet", "shortcut": "none"}, "nearest is shortcut=concatenation"),
        (
            {"depth": 22, "family": "densenet", "order": "preactivation"},
            "order=preactivation: is for family=cifar or imagenet, not for family=densenet; leave order out",
        ),
        ({"depth": 22, "family": "densenet", "width": 32}, "nearest are width=auto and growth=16"),
        ({"block": "dense"}, "family cifar has basic or bottleneck blocks; nearest is block=auto"),
        ({"block": "bottelneck"}, "did you mean bottleneck?"),
        ({"shortcut": "none", "gate_bias": -3}, "is for shortcut=exclusive_gate or shortcut_only_gate, not for shortcut=none"),
        ({"shortcut": "none", "shortcut_scale": 0.7}, "leave shortcut_scale out, or take shortcut=scaling"),
        ({"shortcut": "none", "survival": 0.5}, "not for shortcut=none"),
        ({"shortcut": "concatenation"}, "only in family densenet"),
        ({"shortcut_dropout": 0.1}, "is for shortcut=dropout, not for shortcut=identity"),
        ({"bottleneck_stride": "middle"}, "is for block=bottleneck, not for block=basic"),
        ({"growth": 24}, "is for family=densenet, not for family=cifar"),
        ({"order": "pre"}, "unknown"),
        ({"survival": 0.0}, "above 0"),
        ({"shortcut": "dropout", "shortcut_dropout": 1.0}, "below 1"),
        ({"gate_bias": float("nan")}, "finite"),
    ],
)
def test_an_impossible_net_is_refused_with_the_nearest_possible_one(wrong, words):
    with pytest.raises(ChoiceError) as refused:
        NetworkConfig(**wrong)
    assert words in str(refused.value)


def test_a_family_determines_the_keys_that_are_not_given():
    assert [NetworkConfig(depth, family="imagenet").block.value for depth in (18, 34, 50, 101, 152)] == ["basic"] * 2 + [
        "bottleneck"
    ] * 3
    assert NetworkConfig(18, family="imagenet").width == 64
    assert NetworkConfig(100, family="densenet", growth=24).width == 48
    assert NetworkConfig(56).stage_blocks == (9, 9, 9)
    assert NetworkConfig(56, block="bottleneck").stage_blocks == (6, 6, 6)
    assert RunConfig(56, block="basic", width=16, device="cpu").identity() == RunConfig(56, device="cpu").identity()
