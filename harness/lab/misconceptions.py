"""Errors in common explanations of the residual block, each measured on blocks of the harness, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import NetworkConfig, Order
from harness.config.seeds import stream_seed
from harness.models.blocks import Block, Place
from harness.models.initialisation import initialise
from harness.models.norms import make_norm

CHANNELS, BATCH, SIDE = 8, 16, 6
EQUAL = Place(CHANNELS, CHANNELS, 1)


def make_block(place: Place = EQUAL, shortcut: str = "identity", order: str = "original") -> Block:
    """Return a block of the harness with He initialisation (seed 0), in training mode and float64."""
    block = Block(NetworkConfig(shortcut=shortcut, order=Order(order)), place)
    initialise(block, "he", 0)
    return block.double()


def normal(name: str, *shape: int) -> Tensor:
    """Return independent normal numbers of a fixed stream, float64."""
    generator = torch.Generator().manual_seed(stream_seed(0, "lab errors", name))
    return torch.randn(shape or (BATCH, CHANNELS, SIDE, SIDE), generator=generator, dtype=torch.float64)


def position_of_the_addition() -> Mapping[str, float]:
    """Return how far three sentences are from what the block computes, and how often its output lies below its input, in percent.

    `paper`: ReLU(BN2(...) + x); `after_relu`: ReLU(BN2(...)) + x; `no_relu`: BN2(...) + x. Largest differences.
    """
    block, x = make_block(), normal("x").relu()
    with torch.no_grad():
        y = block(x)
        branch = _branch(block, x)
    guesses = {"paper": (branch + x).relu(), "after_relu": branch.relu() + x, "no_relu": branch + x}
    found = {name: float((guess - y).abs().max()) for name, guess in guesses.items()}
    shares = {f"below_{name}": _percent(guesses[name] < x) for name in ("paper", "after_relu")}
    return found | shares


class Slope(NamedTuple):
    """A derivative by the note's sentence, by the right one, by autograd, and by a central difference."""

    note: float
    right: float
    autograd: float
    measured: float


def gradient_of_the_sum() -> Mapping[str, Slope]:
    """Return dL/dx of y = x + F(x): for F = 0.5x at x = 1 with dL/dy = 1, and for a pre-activation block along a direction."""
    return {
        "half": _slope(lambda x: 0.5 * x, torch.ones(1), torch.ones(1), torch.ones(1)),
        "block": _slope(_frozen_branch(), normal("x"), normal("g"), normal("v") / normal("v").norm()),
    }


class NormBackward(NamedTuple):
    """How far gamma g and the right formula are from autograd's gradient (norms, relative), and what that gradient is
    orthogonal to: its largest sum over the batch and its largest inner product with x^, over channels."""

    note: float
    right: float
    batch_sum: float
    along: float


def backward_of_batch_norm() -> Mapping[str, NormBackward]:
    """Return what becomes of a gradient g in batch normalisation, in training and in evaluation mode."""
    norm = make_norm("batch", CHANNELS).double()
    assert isinstance(norm, nn.BatchNorm2d)
    norm.weight.data, norm.bias.data = 1 + 0.3 * normal("gamma", CHANNELS), normal("beta", CHANNELS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    x, g = 2 * normal("x") + 1, normal("g")
    found = {}
    for training in (True, False):
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        if not training:
            mean, variance = norm.running_mean.clone(), norm.running_var.clone()
        sigma = torch.sqrt(variance + norm.eps)
        normed = (x - mean[:, None, None]) / sigma[:, None, None]
        sums, along = g.mean((0, 2, 3), True), (g * normed).mean((0, 2, 3), True)
        scaled = norm.weight.detach()[:, None, None] * (g - sums - normed * along if training else g)
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(norm.train(training)(leaf), leaf, g)
        found["training" if training else "evaluation"] = NormBackward(
            _apart(norm.weight.detach()[:, None, None] * g, gradient),
            _apart(scaled / sigma[:, None, None], gradient),
            float(gradient.sum((0, 2, 3)).abs().max()),
            float((gradient * normed).sum((0, 2, 3)).abs().max()),
        )
    return found


class Passage(NamedTuple):
    """What a block makes of dL/dy = g on the way to its input: percent of the input's elements whose gradient is exactly zero,
    percent whose gradient is exactly that of the same place at the output, and the ratio of the norms."""

    zero: float
    unchanged: float
    ratio: float


def unchanged_gradient() -> Mapping[str, Passage]:
    """Return how gradients pass blocks whose branch contributes nothing (its last layer is zero): by the shortcut alone."""
    wider = Place(CHANNELS, 2 * CHANNELS, 2)
    return {
        "original": _passage(make_block()),
        "preactivation": _passage(make_block(order="preactivation")),
        "option_a": _passage(make_block(wider, order="preactivation")),
        "option_b": _passage(make_block(wider, "projection", "preactivation")),
    }


def bias_before_norm() -> Mapping[str, tuple[float, float]]:
    """Return (||dL/db||, ||dL/dW||) of a convolution with a bias before batch normalisation, in training and evaluation mode."""
    conv, norm = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).double(), make_norm("batch", CHANNELS).double()
    conv.weight.data, conv.bias.data = 0.1 * normal("W", CHANNELS, CHANNELS, 3, 3), normal("b", CHANNELS)  # type: ignore[union-attr]
    found = {}
    for mode in ("training", "evaluation"):
        out = functional.relu(norm.train(mode == "training")(conv(normal("x"))))
        bias, weight = torch.autograd.grad(out, [conv.get_parameter("bias"), conv.weight], normal("g"))
        found[mode] = float(bias.norm()), float(weight.norm())
    return found


def _branch(block: Block, x: Tensor) -> Tensor:
    """Return the residual branch of a basic block of order original, as the block computes it."""
    inner = functional.relu(block.get_submodule("norm1")(block.get_submodule("conv1")(x)))
    out: Tensor = block.get_submodule("norm2")(block.get_submodule("conv2")(inner))
    return out


def _frozen_branch() -> Callable[[Tensor], Tensor]:
    """Return the branch of a pre-activation block in evaluation mode: what it adds to its input."""
    block = make_block(order="preactivation").eval()
    return lambda x: block(x) - x


def _slope(branch: Callable[[Tensor], Tensor], x: Tensor, g: Tensor, v: Tensor) -> Slope:
    """Return the derivative of <g, x + F(x)> along v at x."""
    step = 1e-6
    x, g, v = x.double(), g.double(), v.double()
    leaf, alone = x.clone().requires_grad_(), x.clone().requires_grad_()
    (of_sum,) = torch.autograd.grad(leaf + branch(leaf), leaf, g)
    (of_branch,) = torch.autograd.grad(branch(alone), alone, g)
    with torch.no_grad():
        up, down = (x + h * v + branch(x + h * v) for h in (step, -step))
    by_sentence = [float((gradient * v).sum()) for gradient in (g, g + of_branch, of_sum)]
    return Slope(by_sentence[0], by_sentence[1], by_sentence[2], float((g * (up - down)).sum()) / (2 * step))


def _passage(block: Block) -> Passage:
    last = block.get_submodule(f"norm{block.count}")
    silent = last if isinstance(last, nn.BatchNorm2d) else block.get_submodule(f"conv{block.count}")
    nn.init.zeros_(silent.get_parameter("weight"))
    x = normal("x").requires_grad_()
    y = block(x)
    g = normal("g", *y.shape)
    (gradient,) = torch.autograd.grad(y, x, g)
    same = _percent(gradient == g) if g.shape == gradient.shape else 0.0
    return Passage(_percent(gradient == 0), same, float(gradient.norm() / g.norm()))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def _percent(mask: Tensor) -> float:
    return 100.0 * float(mask.double().mean())
