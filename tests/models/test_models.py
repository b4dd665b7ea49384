"""The nets of He et al. 2015, 4.2: the paper's count of layers, the position of the addition, and what arms have in common."""

import math

import pytest
import torch
from torch.nn import functional

from harness.config.run import RunConfig
from harness.models import introspection
from harness.models.blocks import Block, BlockSpec
from harness.models.build import build
from harness.models.initialisation import fans
from harness.models.shortcuts import make_shortcut


def net(depth=20, channels=3, **choices):
    return build(RunConfig(depth=depth, **choices), channels, 10)


@pytest.mark.parametrize("shortcut", ["none", "identity", "projection", "projection_all"])
@pytest.mark.parametrize("depth", [8, 20, 110])
def test_layers_are_counted_as_the_paper_counts_them(depth, shortcut):
    layers = introspection.layers(net(depth, shortcut=shortcut))
    assert [layer.number for layer in layers if layer.kind != "projection"] == list(range(1, depth + 1))
    assert layers[0].name == "stem.conv"
    assert layers[-1].kind == "linear"
    projections = {"none": 0, "identity": 0, "projection": 2, "projection_all": (depth - 2) // 2}
    assert sum(layer.kind == "projection" for layer in layers) == projections[shortcut]
    assert [block.number for block in introspection.blocks(net(depth))] == list(range((depth - 2) // 2 + 1))


def test_layers_are_in_forward_order_and_respond_after_their_norm():
    model, called = net(20), []
    for layer in introspection.layers(model):
        layer.response.register_forward_hook(lambda *_, name=layer.name: called.append(name))
    model(torch.zeros(2, 3, 32, 32))
    assert called == [layer.name for layer in introspection.layers(model)]
    assert isinstance(introspection.layers(model)[0].response, torch.nn.BatchNorm2d)


@pytest.mark.parametrize(("size", "sides"), [(32, [32, 32, 16, 8]), (8, [8, 8, 4, 2])])
def test_each_stage_halves_the_map_and_doubles_the_channels(size, sides):
    model, shapes = net(20), []
    for block in introspection.blocks(model):
        block.module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(2, 3, size, size))
    assert [shapes[number] for number in (0, 1, 4, 7)] == list(zip((16, 16, 32, 64), sides, sides, strict=True))


def option_a(x, channels):
    """Option A written out: every other position, followed by channels of zeros."""
    result = torch.zeros(x.shape[0], channels, (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2, dtype=x.dtype)
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            result[:, : x.shape[1], row, column] = x[:, :, 2 * row, 2 * column]
    return result


def test_option_a_subsamples_and_pads_with_zero_channels():
    x, branch = torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4)
    joined = make_shortcut(RunConfig(), 16, 32, 2)(x, branch)
    assert torch.equal(joined, branch + option_a(x, 32))


def test_the_addition_comes_after_the_second_norm_and_before_the_last_relu():
    block = Block(RunConfig(), BlockSpec(4, 4, 1)).double()
    x = torch.randn(8, 4, 5, 5, dtype=torch.float64)
    branch = block.norm2(block.conv2(functional.relu(block.norm1(block.conv1(x)))))
    assert torch.equal(block(x), functional.relu(branch + x))
    assert not torch.equal(block(x), functional.relu(branch) + x)


def test_plain_and_residual_nets_share_every_initial_value():
    plain, residual, projected = (net(20, shortcut=name).state_dict() for name in ("none", "identity", "projection"))
    assert plain.keys() == residual.keys()
    assert all(torch.equal(plain[name], residual[name]) for name in plain)
    assert all(torch.equal(plain[name], projected[name]) for name in plain)
    assert set(projected) - set(plain) == {name for name in projected if ".shortcut." in name}


def test_values_depend_on_the_seed_and_the_layer():
    first, other = net(20).state_dict(), net(20, seed=1).state_dict()
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])
    assert not torch.equal(first["stages.0.0.conv1.weight"], first["stages.0.0.conv2.weight"])


def test_building_a_net_leaves_the_global_random_state():
    before = torch.get_rng_state()
    net(20)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("he", math.sqrt(2 / (9 * 64))),
        ("he_fan_in", math.sqrt(2 / (9 * 32))),
        ("xavier", math.sqrt(2 / (9 * 96))),
        ("torch", math.sqrt(1 / (3 * 9 * 32))),
    ],
)
def test_initial_weights_have_the_variance_of_their_source(init, std):
    weight = net(20, init=init, norm="none").state_dict()["stages.2.0.conv1.weight"]
    assert fans(weight) == (9 * 32, 9 * 64)
    n = weight.numel()
    assert weight.mean().abs() < 4 * std / math.sqrt(n)
    assert float(weight.std()) == pytest.approx(std, rel=4 / math.sqrt(n))


def test_biases_exist_only_without_norms_and_start_at_zero():
    assert {name for name in net(20).state_dict() if name.endswith("conv1.bias")} == set()
    state = net(20, norm="none").state_dict()
    biases = [value for name, value in state.items() if name.endswith("bias")]
    assert len(biases) == 20
    assert all(not bias.any() for bias in biases)
    assert all(bias.all() for name, bias in net(20, norm="none", init="torch").state_dict().items() if name.endswith("bias"))


def test_the_gradient_at_a_blocks_input_is_the_sum_over_branch_and_shortcut():
    """dL/dx = dL/dy (1 + dF/dx): with F(x) = x/2 on positive values and dL/dy = 1 it is 1.5, in a plain block 0.5."""
    for shortcut, expected in (("identity", 1.5), ("none", 0.5)):
        block = Block(RunConfig(shortcut=shortcut, norm="none"), BlockSpec(1, 1, 1)).double()
        for conv, centre in ((block.conv1, 0.5), (block.conv2, 1.0)):
            torch.nn.init.zeros_(conv.weight)
            torch.nn.init.zeros_(conv.bias)
            conv.weight.data[0, 0, 1, 1] = centre
        x = torch.ones(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
        block(x).sum().backward()
        assert torch.equal(x.grad, torch.full_like(x, expected))
