"""Measure errors in common explanations of the residual block, on blocks of the harness in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.blocks import Order
from harness.config.network import NetworkConfig
from harness.lab import residual_block
from harness.models.blocks import Block, BlockSpec
from harness.models.initialisation import initialise

CHANNELS = 8
SHAPE = (16, CHANNELS, 6, 6)
normal = partial(residual_block.normal, "lab errors")
EQUAL, WIDER = BlockSpec(CHANNELS, CHANNELS, 1), BlockSpec(CHANNELS, 2 * CHANNELS, 2)


def make_block(spec: BlockSpec = EQUAL, shortcut: str = "identity", order: str = "original") -> Block:
    """Return a block with He initialisation (seed 0), in training mode and float64."""
    block = Block(NetworkConfig(shortcut=shortcut, order=Order(order)), spec)
    initialise(block, "he", 0)
    return block.double()


def position_of_the_addition() -> Mapping[str, float]:
    """Return the largest error of three formulas for a block's output, and the percentage of outputs below the input.

    `paper`: ReLU(BN2(...) + x); `after_relu`: ReLU(BN2(...)) + x; `no_relu`: BN2(...) + x. The percentages are `below_paper` and
    `below_after_relu`.
    """
    block, x = make_block(), normal("x", SHAPE).relu()
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
    x, g, direction = (normal(name, SHAPE) for name in ("x", "g", "v"))
    return {
        "half": _slope(lambda x: 0.5 * x, one, one, one),
        "block": _slope(lambda x: block(x) - x, x, g, direction / direction.norm()),
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
    norm = nn.BatchNorm2d(CHANNELS, dtype=torch.float64)
    norm.weight.data, norm.bias.data = 1 + 0.3 * normal("gamma", (CHANNELS,)), normal("beta", (CHANNELS,))
    gamma = norm.weight.detach()[:, None, None]
    x, g = (2 * normal("x", SHAPE) + 1).requires_grad_(), normal("g", SHAPE)
    gradients = {}
    for mode in ("training", "evaluation"):
        training = mode == "training"
        (gradient,) = torch.autograd.grad(norm.train(training)(x), x, g)
        variance, mean = torch.var_mean(x.detach(), (0, 2, 3), unbiased=False)
        if not training:
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        sigma = torch.sqrt(variance + norm.eps)[:, None, None]
        normed = (x.detach() - mean[:, None, None]) / sigma
        sums, along = g.mean((0, 2, 3), True), (g * normed).mean((0, 2, 3), True)
        right = gamma * (g - sums - normed * along if training else g) / sigma
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
    weight, bias = 0.1 * normal("W", (CHANNELS, CHANNELS, 3, 3)), normal("b", (CHANNELS,))
    out = functional.conv2d(normal("x", SHAPE), weight.requires_grad_(), bias.requires_grad_(), padding=1)
    norm = nn.BatchNorm2d(CHANNELS, dtype=torch.float64)
    norms = {}
    for mode in ("training", "evaluation"):
        y = functional.relu(norm.train(mode == "training")(out))
        of_bias, of_weight = torch.autograd.grad(y, [bias, weight], normal("g", SHAPE), retain_graph=True)
        norms[mode] = float(of_bias.norm()), float(of_weight.norm())
    return norms


def _slope(branch: Callable[[Tensor], Tensor], x: Tensor, g: Tensor, v: Tensor) -> Slope:
    """Return the derivative of <g, x + F(x)> along v at x, where F is `branch`."""
    step = 1e-6
    leaf = x.clone().requires_grad_()
    (of_sum,) = torch.autograd.grad(leaf + branch(leaf), leaf, g)
    (of_branch,) = torch.autograd.grad(branch(leaf), leaf, g)
    with torch.no_grad():
        up, down = (x + h * v + branch(x + h * v) for h in (step, -step))
    note, right, autograd = (float((gradient * v).sum()) for gradient in (g, g + of_branch, of_sum))
    return Slope(note, right, autograd, measured=float((g * (up - down)).sum()) / (2 * step))


def _passage(block: Block) -> Passage:
    last = block.get_submodule(f"norm{block.depth}")
    last = last if isinstance(last, nn.BatchNorm2d) else block.get_submodule(f"conv{block.depth}")
    nn.init.zeros_(last.get_parameter("weight"))
    x = normal("x", SHAPE).requires_grad_()
    y = block(x)
    g = normal("g", y.shape)
    (gradient,) = torch.autograd.grad(y, x, g)
    unchanged = _percent(gradient == g) if g.shape == gradient.shape else 0.0
    return Passage(_percent(gradient == 0), unchanged, float(gradient.norm() / g.norm()))


def _relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def _percent(mask: Tensor) -> float:
    return 100.0 * float(mask.double().mean())
