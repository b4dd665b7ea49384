"""The note's block of two 3x3 convolutions on [N, C, H, W], forward and backward, by formula and by autograd.

    x1 = conv(x0, W1) + b1    a1 = BN1(x1)    x2 = ReLU(a1)    x3 = conv(x2, W2) + b2    F = BN2(x3)    s = F + x0    y = ReLU(s)

It is `harness.models.blocks.Block` of order original with an identity shortcut (a test says so), but for biases, which the note
has. The formulas use torch's convolutions and their two adjoints (`torch.nn.grad`), and no automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn import grad as adjoint

from harness.config.seeds import stream_seed

EPSILON = 1e-5
MOMENTUM = 0.1
PARAMETERS = ("W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2")
Tensors = dict[str, Tensor]


class Row(NamedTuple):
    """A quantity: its shape, mean, standard deviation and 2-norm by formula, the norm by autograd, and how far the two are apart.

    `apart` is the norm of their difference over that of the quantity; for a bias's gradient, a sum that may cancel to nothing,
    over the norm of the same sum of absolute values.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    norm: float
    norm_autograd: float
    apart: float


@dataclass(frozen=True)
class Normed:
    """What a normalisation keeps for its backward pass: x^ [N, C, H, W], gamma / sigma [C], and its mode."""

    x: Tensor
    scale: Tensor
    training: bool


def parameters(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the block's parameters: He normal weights (fan-out), gammas about 1, biases and betas about 0, by fixed streams."""
    shapes: Mapping[str, tuple[int, ...]] = {
        name: (channels, channels, 3, 3) if name.startswith("W") else (channels,) for name in PARAMETERS
    }
    made = {name: _drawn(name, shape, dtype) for name, shape in shapes.items()}
    return {
        name: value * math.sqrt(2 / (9 * channels)) if name.startswith("W") else 0.1 * value + name.startswith("gamma")
        for name, value in made.items()
    }


def example(shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return an input as it leaves a ReLU, and a gradient dL/dy of independent normal numbers, by fixed streams."""
    x0, dy = (_drawn(name, shape, dtype).contiguous(memory_format=torch.channels_last) for name in ("x0", "dy"))
    return x0.relu_(), dy


def untrained(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the running statistics before training: mean 0 and variance 1."""
    return {f"{kind}{n}": torch.full((channels,), value, dtype=dtype) for n in (1, 2) for kind, value in _STATISTICS}


_STATISTICS = (("mean", 0.0), ("variance", 1.0))


class Compared(NamedTuple):
    """A row of every value and gradient, in the order in which they are found, and at how many elements of x2 and y the two sides
    disagree whether the ReLU is open: there a sum lies within rounding of 0, and the gradient passes on one side alone."""

    rows: list[Row]
    flips: int


def compare(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Compared:
    """Return the block by formula beside the block by autograd.

    In training mode `running` moves towards the batch's statistics, once, as training would move it.
    """
    expected = by_autograd(p, {name: value.clone() for name, value in running.items()}, x0, dy, training)
    rows, flips, summed = [], 0, 0.0
    for name, value in by_formula(p, running, x0, dy, training):
        if name in ("dx3", "dx1"):
            summed = _norm(value.abs().sum((0, 2, 3)))
        other = expected.pop(name)
        if name in ("x2", "y"):
            flips += int(torch.count_nonzero((value > 0) != (other > 0)))
        rows.append(_row(name, value, other, summed if name in ("db1", "db2") else _norm(value)))
    return Compared(rows, flips)


def by_formula(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield every quantity once it is known; what is no longer needed is let go, since each may take hundreds of MiB."""
    x1 = functional.conv2d(x0, p["W1"], p["b1"], padding=1)
    yield "x1", x1
    a1, norm1 = _forward(x1, p, running, 1, training)
    del x1
    yield "a1", a1
    open1 = a1 > 0
    x2 = a1.clamp_(min=0)
    yield "x2", x2
    x3 = functional.conv2d(x2, p["W2"], p["b2"], padding=1)
    yield "x3", x3
    branch, norm2 = _forward(x3, p, running, 2, training)
    del x3
    yield "F", branch
    s = branch.add_(x0)
    yield "s", s
    yield "y", s.clamp(min=0)

    ds = dy * (s > 0)
    del s, branch
    yield "ds", ds
    dx3, *of_norm = _backward(ds, norm2)
    del norm2
    yield from zip(("dgamma2", "dbeta2"), of_norm, strict=True)
    yield "dx3", dx3
    yield "dW2", adjoint.conv2d_weight(x2, p["W2"].shape, dx3, padding=1)  # type: ignore[no-untyped-call]
    del x2, a1
    yield "db2", dx3.sum((0, 2, 3))
    dx2 = adjoint.conv2d_input(x0.shape, p["W2"], dx3, padding=1)  # type: ignore[no-untyped-call]
    del dx3
    yield "dx2", dx2
    da1 = dx2.mul_(open1)
    yield "da1", da1
    dx1, *of_norm = _backward(da1, norm1)
    del da1, dx2, norm1, open1
    yield from zip(("dgamma1", "dbeta1"), of_norm, strict=True)
    yield "dx1", dx1
    yield "dW1", adjoint.conv2d_weight(x0, p["W1"].shape, dx1, padding=1)  # type: ignore[no-untyped-call]
    yield "db1", dx1.sum((0, 2, 3))
    by_branch = adjoint.conv2d_input(x0.shape, p["W1"], dx1, padding=1)  # type: ignore[no-untyped-call]
    del dx1
    yield "dx0_shortcut", ds
    yield "dx0_branch", by_branch
    yield "dx0", by_branch.add_(ds)


def by_autograd(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Tensors:
    """Return every quantity, the backward pass by torch's automatic differentiation."""
    leaf = {name: value.detach().requires_grad_() for name, value in p.items()}
    into_branch, into_sum = x0.detach().requires_grad_(), x0.detach().requires_grad_()
    seen: Tensors = {}

    def norm(x: Tensor, n: int) -> Tensor:
        statistics = running[f"mean{n}"], running[f"variance{n}"]
        return functional.batch_norm(x, *statistics, leaf[f"gamma{n}"], leaf[f"beta{n}"], training, MOMENTUM, EPSILON)

    seen["x1"] = functional.conv2d(into_branch, leaf["W1"], leaf["b1"], padding=1)
    seen["a1"] = norm(seen["x1"], 1)
    seen["x2"] = functional.relu(seen["a1"])
    seen["x3"] = functional.conv2d(seen["x2"], leaf["W2"], leaf["b2"], padding=1)
    seen["F"] = norm(seen["x3"], 2)
    seen["s"] = seen["F"] + into_sum
    seen["y"] = functional.relu(seen["s"])
    watched = {name: seen[name] for name in ("s", "x3", "x2", "a1", "x1")} | leaf
    watched |= {"x0_branch": into_branch, "x0_shortcut": into_sum}
    gradients = torch.autograd.grad(seen["y"], list(watched.values()), dy)
    found = {name: value.detach() for name, value in seen.items()}
    found |= {f"d{name}": value for name, value in zip(watched, gradients, strict=True)}
    return found | {"dx0": found["dx0_shortcut"] + found["dx0_branch"]}


def _forward(x: Tensor, p: Tensors, running: Tensors, n: int, training: bool) -> tuple[Tensor, Normed]:
    """Return gamma x^ + beta (Ioffe and Szegedy 2015, Algorithm 1), and move the running statistics in training mode."""
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
    return out.add_(_by_channel(p[f"beta{n}"])), Normed(normed, p[f"gamma{n}"] / sigma, training)


def _backward(g: Tensor, norm: Normed) -> tuple[Tensor, Tensor, Tensor]:
    """Return dL/dx, dL/dgamma and dL/dbeta from g = dL/d(gamma x^ + beta): in training mode gamma/sigma times g less its mean
    and less its part along x^, in evaluation mode gamma/sigma times g."""
    dgamma, dbeta = (g * norm.x).sum((0, 2, 3)), g.sum((0, 2, 3))
    dx = g
    if norm.training:
        count = g.numel() / g.shape[1]
        dx = g - norm.x * _by_channel(dgamma / count)
        dx.sub_(_by_channel(dbeta / count))
    return dx * _by_channel(norm.scale), dgamma, dbeta


def _by_channel(value: Tensor) -> Tensor:
    return value[:, None, None]


def _row(name: str, value: Tensor, expected: Tensor, size: float) -> Row:
    std, mean = torch.std_mean(value, unbiased=False)
    return Row(
        *(name, tuple(value.shape), float(mean), float(std), _norm(value), _norm(expected)),
        apart=_norm(value - expected) / size,
    )


def _norm(value: Tensor) -> float:
    return float(torch.linalg.vector_norm(value, dtype=torch.float64))


def _drawn(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(stream_seed(0, "lab", name))
    return torch.randn(shape, generator=generator, dtype=dtype)
