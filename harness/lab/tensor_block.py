"""The residual block on images [N, C, H, W], two 3x3 convolutions, forward and backward, by formula and by autograd.

It is `harness.models.blocks.Block` of order original with an identity shortcut (a test compares them), plus biases. The
formulas use torch's convolutions and their two adjoints (`torch.nn.grad`), and no automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn import grad as adjoint

from harness.config.seeds import stream_seed
from harness.lab import residual_block
from harness.lab.residual_block import EPSILON, Tensors

MOMENTUM = 0.1
PARAMETERS = ("W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2")


class Quantity(NamedTuple):
    """A quantity: its shape, mean, standard deviation and 2-norm by formula, its norm by autograd, and their difference.

    `difference` is the norm of the difference relative to that of the quantity; for a bias's gradient, a sum whose terms may
    cancel, relative to the norm of the sum of absolute values.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    norm: float
    norm_autograd: float
    difference: float


def parameters(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the block's parameters from fixed streams: He-normal weights (fan-out), gammas near 1, biases and betas near 0."""

    def initial(name: str) -> Tensor:
        if name.startswith("W"):
            return _normal(name, (channels, channels, 3, 3), dtype) * math.sqrt(2 / (9 * channels))
        return 0.1 * _normal(name, (channels,), dtype) + name.startswith("gamma")

    return {name: initial(name) for name in PARAMETERS}


def example(shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return an input as it leaves a ReLU, and a gradient dL/dy of independent normal numbers, from fixed streams."""
    x0, dy = (_normal(name, shape, dtype).contiguous(memory_format=torch.channels_last) for name in ("x0", "dy"))
    return x0.relu_(), dy


def untrained(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the running statistics before training: mean 0 and variance 1."""
    statistics = {"mean1": 0.0, "variance1": 1.0, "mean2": 0.0, "variance2": 1.0}
    return {name: torch.full((channels,), value, dtype=dtype) for name, value in statistics.items()}


def compare(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> tuple[list[Quantity], int]:
    """Compare the block by formula with the block by autograd; return its quantities in order, and the number of flips.

    A flip is an element of x2 or y where only one of the two has an open ReLU: there a sum is within rounding of 0, and the
    gradient passes in one of them alone. In training mode `running` is updated once, as a training step updates it.
    """
    expected = by_autograd(p, {name: value.clone() for name, value in running.items()}, x0, dy, training)
    quantities, flips, absolute = [], 0, 0.0
    for name, value in by_formula(p, running, x0, dy, training):
        other = expected.pop(name)
        if name in ("x2", "y"):
            flips += int(torch.count_nonzero((value > 0) != (other > 0)))
        if name in ("dx3", "dx1"):
            absolute = _norm(value.abs().sum((0, 2, 3)))
        std, mean = torch.std_mean(value, unbiased=False)
        difference = _norm(value - other) / (absolute if name in ("db1", "db2") else _norm(value))
        numbers = float(mean), float(std), _norm(value), _norm(other), difference
        quantities.append(Quantity(name, tuple(value.shape), *numbers))
    return quantities, flips


def by_formula(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield every quantity once it is known; each may take hundreds of MiB, so none is kept longer than needed."""
    x1 = functional.conv2d(x0, p["W1"], p["b1"], padding=1)
    yield "x1", x1
    a1, normed1, scale1 = _normalise(x1, p, running, 1, training)
    del x1
    yield "a1", a1
    open1 = a1 > 0
    x2 = a1.clamp_(min=0)
    yield "x2", x2
    x3 = functional.conv2d(x2, p["W2"], p["b2"], padding=1)
    yield "x3", x3
    branch, normed2, scale2 = _normalise(x3, p, running, 2, training)
    del x3
    yield "F", branch
    s = branch.add_(x0)
    yield "s", s
    yield "y", s.clamp(min=0)

    ds = dy * (s > 0)
    del s, branch
    yield "ds", ds
    dx3, dgamma2, dbeta2 = _back_through_norm(ds, normed2, scale2, training)
    del normed2
    yield "dgamma2", dgamma2
    yield "dbeta2", dbeta2
    yield "dx3", dx3
    yield "dW2", adjoint.conv2d_weight(x2, p["W2"].shape, dx3, padding=1)  # type: ignore[no-untyped-call]
    del x2, a1
    yield "db2", dx3.sum((0, 2, 3))
    dx2 = adjoint.conv2d_input(x0.shape, p["W2"], dx3, padding=1)  # type: ignore[no-untyped-call]
    del dx3
    yield "dx2", dx2
    da1 = dx2.mul_(open1)
    yield "da1", da1
    dx1, dgamma1, dbeta1 = _back_through_norm(da1, normed1, scale1, training)
    del da1, dx2, normed1, open1
    yield "dgamma1", dgamma1
    yield "dbeta1", dbeta1
    yield "dx1", dx1
    yield "dW1", adjoint.conv2d_weight(x0, p["W1"].shape, dx1, padding=1)  # type: ignore[no-untyped-call]
    yield "db1", dx1.sum((0, 2, 3))
    by_branch = adjoint.conv2d_input(x0.shape, p["W1"], dx1, padding=1)  # type: ignore[no-untyped-call]
    del dx1
    yield "dx0_shortcut", ds
    yield "dx0_branch", by_branch
    yield "dx0", by_branch.add_(ds)


def by_autograd(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Tensors:
    """Return every quantity, gradients by torch's automatic differentiation."""

    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.conv2d(x, weight, bias, padding=1)

    def normalise(x: Tensor, gamma: Tensor, beta: Tensor, n: int) -> Tensor:
        statistics = running[f"mean{n}"], running[f"variance{n}"]
        return functional.batch_norm(x, *statistics, gamma, beta, training, MOMENTUM, EPSILON)

    return residual_block.by_autograd(p, x0, dy, convolve, normalise)


def _normalise(x: Tensor, p: Tensors, running: Tensors, n: int, training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return gamma x^ + beta (Ioffe and Szegedy 2015, Algorithm 1), x^ [N, C, H, W] and gamma / sigma [C].

    Updates the running statistics in training mode.
    """
    if training:
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        count = x.numel() / x.shape[1]
        running[f"mean{n}"].lerp_(mean, MOMENTUM)
        running[f"variance{n}"].lerp_(variance * count / (count - 1), MOMENTUM)
    else:
        mean, variance = running[f"mean{n}"], running[f"variance{n}"]
    sigma = torch.sqrt(variance + EPSILON)
    normed = (x - _by_channel(mean)).div_(_by_channel(sigma))
    out = normed * _by_channel(p[f"gamma{n}"])
    return out.add_(_by_channel(p[f"beta{n}"])), normed, p[f"gamma{n}"] / sigma


def _back_through_norm(g: Tensor, normed: Tensor, scale: Tensor, training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return dL/dx, dL/dgamma and dL/dbeta from g = dL/d(gamma x^ + beta) (Ioffe and Szegedy 2015, section 3).

    dL/dx is gamma/sigma times g in evaluation mode; in training mode g first loses its mean and its part along x^.
    """
    dgamma, dbeta = (g * normed).sum((0, 2, 3)), g.sum((0, 2, 3))
    dx = g
    if training:
        count = g.numel() / g.shape[1]
        dx = g - normed * _by_channel(dgamma / count)
        dx.sub_(_by_channel(dbeta / count))
    return dx * _by_channel(scale), dgamma, dbeta


def _by_channel(value: Tensor) -> Tensor:
    return value[:, None, None]


def _norm(value: Tensor) -> float:
    return float(torch.linalg.vector_norm(value, dtype=torch.float64))


def _normal(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return independent normal numbers from the fixed stream `name`."""
    generator = torch.Generator().manual_seed(stream_seed(0, "lab", name))
    return torch.randn(shape, generator=generator, dtype=dtype)
