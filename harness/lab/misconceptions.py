"""Measure errors in common explanations of the residual block, on blocks of the harness in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import NetworkConfig, Order
from harness.config.seeds import stream_seed
from harness.models.blocks import Block, BlockSpec
from harness.models.initialisation import initialise
from harness.models.norms import make_norm

CHANNELS, BATCH, SIDE = 8, 16, 6
EQUAL, WIDER = BlockSpec(CHANNELS, CHANNELS, 1), BlockSpec(CHANNELS, 2 * CHANNELS, 2)


def make_block(spec: BlockSpec = EQUAL, shortcut: str = "identity", order: str = "original") -> Block:
    """Return a block of the harness with He initialisation (seed 0), in training mode and float64."""
    block = Block(NetworkConfig(shortcut=shortcut, order=Order(order)), spec)
    initialise(block, "he", 0)
    return block.double()


def normal(name: str, *shape: int) -> Tensor:
    """Return independent normal numbers from the fixed stream `name`, float64."""
    generator = torch.Generator().manual_seed(stream_seed(0, "lab errors", name))
    return torch.randn(shape or (BATCH, CHANNELS, SIDE, SIDE), generator=generator, dtype=torch.float64)


def position_of_the_addition() -> Mapping[str, float]:
    """Return the largest error of three formulas for a block's output, and the percentage of outputs below the input.

    `paper`: ReLU(BN2(...) + x); `after_relu`: ReLU(BN2(...)) + x; `no_relu`: BN2(...) + x. The percentages are `below_paper` and
    `below_after_relu`.
    """
    block, x = make_block(), normal("x").relu()
    with torch.no_grad():
        y = block(x)
        inner = functional.relu(block.get_submodule("norm1")(block.get_submodule("conv1")(x)))
        branch = block.get_submodule("norm2")(block.get_submodule("conv2")(inner))
    outputs = {"paper": (branch + x).relu(), "after_relu": branch.relu() + x, "no_relu": branch + x}
    errors = {name: float((output - y).abs().max()) for name, output in outputs.items()}
    return errors | {f"below_{name}": _percent(outputs[name] < x) for name in ("paper", "after_relu")}


class Slope(NamedTuple):
    """A derivative by the note's formula, by the right one, by autograd, and by a central difference."""

    note: float
    right: float
    autograd: float
    measured: float


def gradient_of_the_sum() -> Mapping[str, Slope]:
    """Return dL/dx of y = x + F(x): for F = 0.5x at x = 1 with dL/dy = 1, and for a pre-activation block along a direction."""
    block = make_block(order="preactivation").eval()
    one = torch.ones(1, dtype=torch.float64)
    return {
        "half": _slope(lambda x: 0.5 * x, one, one, one),
        "block": _slope(lambda x: block(x) - x, normal("x"), normal("g"), normal("v") / normal("v").norm()),
    }


class NormGradient(NamedTuple):
    """The gradient at a normalisation's input: relative errors (norms) of gamma g and of the right formula against autograd,
    and the largest sum over the batch and the largest inner product with x^ over channels."""

    note: float
    right: float
    batch_sum: float
    along: float


def backward_of_batch_norm() -> Mapping[str, NormGradient]:
    """Return the gradient of batch normalisation for a gradient g at its output, in training and in evaluation mode."""
    norm = make_norm("batch", CHANNELS).double()
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data, norm.bias.data = 1 + 0.3 * normal("gamma", CHANNELS), normal("beta", CHANNELS)
    gamma = norm.weight.detach()[:, None, None]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    x, g = 2 * normal("x") + 1, normal("g")
    gradients = {}
    for mode in ("training", "evaluation"):
        training = mode == "training"
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        if not training:
            mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        sigma = torch.sqrt(variance + norm.eps)[:, None, None]
        normed = (x - mean[:, None, None]) / sigma
        sums, along = g.mean((0, 2, 3), True), (g * normed).mean((0, 2, 3), True)
        right = gamma * (g - sums - normed * along if training else g) / sigma
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(norm.train(training)(leaf), leaf, g)
        largest = (float(of_input.sum((0, 2, 3)).abs().max()) for of_input in (gradient, gradient * normed))
        gradients[mode] = NormGradient(_relative_error(gamma * g, gradient), _relative_error(right, gradient), *largest)
    return gradients


class Passage(NamedTuple):
    """How a gradient passes a block: percent of the input's elements with a gradient of exactly zero, percent with exactly the
    output's gradient at the same place, and the ratio of the norms."""

    zero: float
    unchanged: float
    ratio: float


def unchanged_gradient() -> Mapping[str, Passage]:
    """Return how a gradient passes blocks by the shortcut alone: the last layer of their branch is zero."""
    return {
        "original": _passage(make_block()),
        "preactivation": _passage(make_block(order="preactivation")),
        "option_a": _passage(make_block(WIDER, order="preactivation")),
        "option_b": _passage(make_block(WIDER, "projection", "preactivation")),
    }


def bias_before_norm() -> Mapping[str, tuple[float, float]]:
    """Return (||dL/db||, ||dL/dW||) of a convolution with a bias before batch normalisation, in training and evaluation mode."""
    conv, norm = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).double(), make_norm("batch", CHANNELS).double()
    weight, bias = conv.get_parameter("weight"), conv.get_parameter("bias")
    weight.data, bias.data = 0.1 * normal("W", CHANNELS, CHANNELS, 3, 3), normal("b", CHANNELS)
    norms = {}
    for mode in ("training", "evaluation"):
        out = functional.relu(norm.train(mode == "training")(conv(normal("x"))))
        of_bias, of_weight = torch.autograd.grad(out, [bias, weight], normal("g"))
        norms[mode] = float(of_bias.norm()), float(of_weight.norm())
    return norms


def _slope(branch: Callable[[Tensor], Tensor], x: Tensor, g: Tensor, v: Tensor) -> Slope:
    """Return the derivative of <g, x + F(x)> along v at x, where F is `branch`."""
    step = 1e-6
    leaf, alone = x.clone().requires_grad_(), x.clone().requires_grad_()
    (of_sum,) = torch.autograd.grad(leaf + branch(leaf), leaf, g)
    (of_branch,) = torch.autograd.grad(branch(alone), alone, g)
    with torch.no_grad():
        up, down = (x + h * v + branch(x + h * v) for h in (step, -step))
    note, right, autograd = (float((gradient * v).sum()) for gradient in (g, g + of_branch, of_sum))
    return Slope(note, right, autograd, measured=float((g * (up - down)).sum()) / (2 * step))


def _passage(block: Block) -> Passage:
    last = block.get_submodule(f"norm{block.depth}")
    last = last if isinstance(last, nn.BatchNorm2d) else block.get_submodule(f"conv{block.depth}")
    nn.init.zeros_(last.get_parameter("weight"))
    x = normal("x").requires_grad_()
    y = block(x)
    g = normal("g", *y.shape)
    (gradient,) = torch.autograd.grad(y, x, g)
    unchanged = _percent(gradient == g) if g.shape == gradient.shape else 0.0
    return Passage(_percent(gradient == 0), unchanged, float(gradient.norm() / g.norm()))


def _relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def _percent(mask: Tensor) -> float:
    return 100.0 * float(mask.double().mean())
