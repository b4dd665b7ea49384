"""The residual block of numbers, forward and backward, by formula and by autograd.

    x1 = W1 x0 + b1    a1 = gamma1 x^1 + beta1    x2 = ReLU(a1)
    x3 = W2 x2 + b2    F = gamma2 x^3 + beta2     s = F + x0      y = ReLU(s)

x^ is x normalised (Ioffe and Szegedy 2015, Algorithm 1): in training mode by mean and variance of the batch, in evaluation mode
by running ones. The block is the original one (He et al. 2016, Fig. 4a) with one channel of one pixel. templates/lab.js has the
same formulas for the page's sliders, and a test that the numbers are equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5
"""Added to the variance, as everywhere in the harness."""
Values = dict[str, list[float]]
"""Each quantity by name: one number an example, or one number of a parameter."""


@dataclass(frozen=True)
class Weights:
    """The block's parameters; those that the note leaves open are chosen here."""

    W1: float = 0.8
    b1: float = 0.1
    gamma1: float = 1.5
    beta1: float = 0.2
    W2: float = -0.6
    b2: float = 0.05
    gamma2: float = 0.5
    beta2: float = 0.1


@dataclass(frozen=True)
class Running:
    """Running mean and variance of the two normalisations, as training might have left them."""

    mean1: float = 0.3
    variance1: float = 0.5
    mean2: float = 0.2
    variance2: float = 0.4


@dataclass(frozen=True)
class Case:
    """Inputs x0, the gradients dL/dy handed to the block, and whether it is in training mode."""

    name: str
    x0: tuple[float, ...]
    dy: tuple[float, ...]
    training: bool


ONE = {"x0": (1.0,), "dy": (1.0,)}
FOUR = {"x0": (1.0, -0.5, 2.0, 0.25), "dy": (1.0, -2.0, 0.5, 1.5)}
CASES = (
    Case("one_evaluation", **ONE, training=False),
    Case("one_training", **ONE, training=True),
    Case("four_evaluation", **FOUR, training=False),
    Case("four_training", **FOUR, training=True),
)
"""The note's single number 1 with dL/dy = 1, and a batch of four in which training mode has something to normalise."""

FORWARD = ("x1", "a1", "x2", "x3", "F", "s", "y")
BACKWARD = (
    *("dy", "ds", "dF", "dgamma2", "dbeta2", "dx3", "dW2", "db2", "dx2", "da1", "dgamma1", "dbeta1", "dx1", "dW1", "db1"),
    *("dx0_shortcut", "dx0_branch", "dx0"),
)
FORMULAS: Mapping[str, tuple[str, str]] = {
    "x1": ("x₁", "W₁x₀ + b₁"),
    "a1": ("a₁", "γ₁x̂₁ + β₁"),
    "x2": ("x₂", "ReLU(a₁)"),
    "x3": ("x₃", "W₂x₂ + b₂"),
    "F": ("F", "γ₂x̂₃ + β₂"),
    "s": ("s", "F + x₀"),
    "y": ("y", "ReLU(s)"),
    "dy": ("∂L/∂y", ""),
    "ds": ("∂L/∂s", "∂L/∂y · [s > 0]"),
    "dF": ("∂L/∂F", "∂L/∂s"),
    "dgamma2": ("∂L/∂γ₂", "Σ ∂L/∂F · x̂₃"),
    "dbeta2": ("∂L/∂β₂", "Σ ∂L/∂F"),
    "dx3": ("∂L/∂x₃", "BN′(∂L/∂F)"),
    "dW2": ("∂L/∂W₂", "Σ ∂L/∂x₃ · x₂"),
    "db2": ("∂L/∂b₂", "Σ ∂L/∂x₃"),
    "dx2": ("∂L/∂x₂", "∂L/∂x₃ · W₂"),
    "da1": ("∂L/∂a₁", "∂L/∂x₂ · [a₁ > 0]"),
    "dgamma1": ("∂L/∂γ₁", "Σ ∂L/∂a₁ · x̂₁"),
    "dbeta1": ("∂L/∂β₁", "Σ ∂L/∂a₁"),
    "dx1": ("∂L/∂x₁", "BN′(∂L/∂a₁)"),
    "dW1": ("∂L/∂W₁", "Σ ∂L/∂x₁ · x₀"),
    "db1": ("∂L/∂b₁", "Σ ∂L/∂x₁"),
    "dx0_shortcut": ("∂L/∂x₀ (+ x₀)", "∂L/∂s"),
    "dx0_branch": ("∂L/∂x₀ (F)", "∂L/∂x₁ · W₁"),
    "dx0": ("∂L/∂x₀", "∂L/∂s + ∂L/∂x₁ · W₁"),
}
"""Symbol and formula of each quantity, alike in every language; BN' is the backward pass of batch normalisation."""


def by_formula(weights: Weights, running: Running, case: Case) -> Values:
    """Return every value and gradient of the block, in arithmetic of Python's own numbers."""
    w, x0 = weights, case.x0
    x1 = [w.W1 * x + w.b1 for x in x0]
    norm1, sigma1 = _normalised(x1, case.training, running.mean1, running.variance1)
    a1 = [w.gamma1 * n + w.beta1 for n in norm1]
    x2 = [max(a, 0.0) for a in a1]
    x3 = [w.W2 * x + w.b2 for x in x2]
    norm2, sigma2 = _normalised(x3, case.training, running.mean2, running.variance2)
    branch = [w.gamma2 * n + w.beta2 for n in norm2]
    s = [f + x for f, x in zip(branch, x0, strict=True)]

    ds = [g if z > 0 else 0.0 for g, z in zip(case.dy, s, strict=True)]
    dx3 = _back_through_norm(ds, norm2, sigma2, w.gamma2, case.training)
    dx2 = [g * w.W2 for g in dx3]
    da1 = [g if a > 0 else 0.0 for g, a in zip(dx2, a1, strict=True)]
    dx1 = _back_through_norm(da1, norm1, sigma1, w.gamma1, case.training)
    by_branch = [g * w.W1 for g in dx1]
    return {
        **{"x1": x1, "a1": a1, "x2": x2, "x3": x3, "F": branch, "s": s, "y": [max(z, 0.0) for z in s]},
        **{"dy": list(case.dy), "ds": ds, "dF": ds, "dgamma2": [_dot(ds, norm2)], "dbeta2": [math.fsum(ds)]},
        **{"dx3": dx3, "dW2": [_dot(dx3, x2)], "db2": [math.fsum(dx3)], "dx2": dx2, "da1": da1},
        **{"dgamma1": [_dot(da1, norm1)], "dbeta1": [math.fsum(da1)]},
        **{"dx1": dx1, "dW1": [_dot(dx1, x0)], "db1": [math.fsum(dx1)]},
        **{"dx0_shortcut": ds, "dx0_branch": by_branch, "dx0": [p + q for p, q in zip(ds, by_branch, strict=True)]},
    }


def by_autograd(weights: Weights, running: Running, case: Case) -> Values:
    """Return the same, the backward pass by torch's automatic differentiation, in float64.

    torch refuses training mode with one value a channel; there the normalisation is written out, and differentiated by torch.
    """
    w = {name: torch.tensor([value], dtype=torch.float64, requires_grad=True) for name, value in asdict(weights).items()}
    into_branch, into_sum = (torch.tensor(case.x0, dtype=torch.float64, requires_grad=True) for _ in range(2))
    seen: dict[str, Tensor] = {}
    seen["x1"] = w["W1"] * into_branch + w["b1"]
    seen["a1"] = _norm(seen["x1"], w["gamma1"], w["beta1"], case.training, running.mean1, running.variance1)
    seen["x2"] = functional.relu(seen["a1"])
    seen["x3"] = w["W2"] * seen["x2"] + w["b2"]
    seen["F"] = _norm(seen["x3"], w["gamma2"], w["beta2"], case.training, running.mean2, running.variance2)
    seen["s"] = seen["F"] + into_sum
    seen["y"] = functional.relu(seen["s"])
    for value in seen.values():
        value.retain_grad()
    seen["y"].backward(torch.tensor(case.dy, dtype=torch.float64))  # type: ignore[no-untyped-call]
    leaves = {"dx0_shortcut": into_sum, "dx0_branch": into_branch}
    gradients = {f"d{name}": value.grad for name, value in {**seen, **w}.items()} | {k: v.grad for k, v in leaves.items()}
    found = {name: value.detach() for name, value in seen.items()} | {k: v for k, v in gradients.items() if v is not None}
    found["dx0"] = found["dx0_shortcut"] + found["dx0_branch"]
    return {name: found[name].tolist() for name in (*FORWARD, *BACKWARD)}


def difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the largest difference of two lists of numbers."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def for_sliders() -> dict[str, Any]:
    """Return what the page's script starts from: weights, running statistics and cases, as plain values."""
    return {"weights": asdict(Weights()), "running": asdict(Running()), "cases": [asdict(case) for case in CASES]}


def _normalised(x: Sequence[float], training: bool, mean: float, variance: float) -> tuple[list[float], float]:
    """Return x^ and sigma = sqrt(variance + epsilon); the variance of a batch divides by its size."""
    if training:
        mean = math.fsum(x) / len(x)
        variance = math.fsum((value - mean) ** 2 for value in x) / len(x)
    sigma = math.sqrt(variance + EPSILON)
    return [(value - mean) / sigma for value in x], sigma


def _back_through_norm(g: Sequence[float], normed: Sequence[float], sigma: float, gamma: float, training: bool) -> list[float]:
    """Return dL/dx of gamma x^ + beta from g = dL/d(gamma x^ + beta) (Ioffe and Szegedy 2015, section 3)."""
    mean = math.fsum(g) / len(g) if training else 0.0
    along = _dot(g, normed) / len(g) if training else 0.0
    return [gamma / sigma * (value - mean - n * along) for value, n in zip(g, normed, strict=True)]


def _norm(x: Tensor, gamma: Tensor, beta: Tensor, training: bool, mean: float, variance: float) -> Tensor:
    if training and len(x) == 1:
        return gamma * (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + EPSILON) + beta
    running = torch.tensor([mean], dtype=x.dtype), torch.tensor([variance], dtype=x.dtype)
    return functional.batch_norm(x[:, None], *running, gamma, beta, training, eps=EPSILON)[:, 0]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
