"""The residual block on numbers, one channel of one pixel, forward and backward, by formula and by autograd.

templates/lab.js has the same formulas for the page's sliders (a test compares their numbers).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.lab import residual_block
from harness.lab.residual_block import EPSILON

Values = dict[str, list[float]]
"""Quantities by name: a number for each example, or one for a parameter."""
Numbers = Mapping[str, float]
WEIGHTS: Numbers = {
    **{"W1": 0.8, "b1": 0.1, "gamma1": 1.5, "beta1": 0.2},
    **{"W2": -0.6, "b2": 0.05, "gamma2": 0.5, "beta2": 0.1},
}
"""The block's parameters, which the note leaves open."""
RUNNING: Numbers = {"mean1": 0.3, "variance1": 0.5, "mean2": 0.2, "variance2": 0.4}
"""Running mean and variance of the two normalisations, as training might have left them."""


@dataclass(frozen=True)
class Case:
    """Inputs x0, the gradients dL/dy handed to the block, and whether it is in training mode."""

    name: str
    x0: tuple[float, ...]
    dy: tuple[float, ...]
    training: bool


ONE, FOUR = ((1.0,), (1.0,)), ((1.0, -0.5, 2.0, 0.25), (1.0, -2.0, 0.5, 1.5))
CASES = (
    Case("one_evaluation", *ONE, training=False),
    Case("one_training", *ONE, training=True),
    Case("four_evaluation", *FOUR, training=False),
    Case("four_training", *FOUR, training=True),
)
"""The note's single number 1 with dL/dy = 1, and a batch of four in which training mode has something to normalise."""


def by_formula(w: Numbers, running: Numbers, case: Case) -> Values:
    """Return every quantity for weights `w`, in plain Python arithmetic."""
    x0 = case.x0
    x1 = [w["W1"] * x + w["b1"] for x in x0]
    norm1, sigma1 = _normalise(x1, case.training, running["mean1"], running["variance1"])
    a1 = [w["gamma1"] * n + w["beta1"] for n in norm1]
    x2 = [max(a, 0.0) for a in a1]
    x3 = [w["W2"] * x + w["b2"] for x in x2]
    norm2, sigma2 = _normalise(x3, case.training, running["mean2"], running["variance2"])
    branch = [w["gamma2"] * n + w["beta2"] for n in norm2]
    s = [f + x for f, x in zip(branch, x0, strict=True)]

    ds = [g if z > 0 else 0.0 for g, z in zip(case.dy, s, strict=True)]
    dx3 = _back_through_norm(ds, norm2, sigma2, w["gamma2"], case.training)
    dx2 = [g * w["W2"] for g in dx3]
    da1 = [g if a > 0 else 0.0 for g, a in zip(dx2, a1, strict=True)]
    dx1 = _back_through_norm(da1, norm1, sigma1, w["gamma1"], case.training)
    by_branch = [g * w["W1"] for g in dx1]
    return {
        **{"x1": x1, "a1": a1, "x2": x2, "x3": x3, "F": branch, "s": s, "y": [max(z, 0.0) for z in s]},
        **{"dy": list(case.dy), "ds": ds, "dF": ds, "dgamma2": [_dot(ds, norm2)], "dbeta2": [math.fsum(ds)]},
        **{"dx3": dx3, "dW2": [_dot(dx3, x2)], "db2": [math.fsum(dx3)], "dx2": dx2, "da1": da1},
        **{"dgamma1": [_dot(da1, norm1)], "dbeta1": [math.fsum(da1)]},
        **{"dx1": dx1, "dW1": [_dot(dx1, x0)], "db1": [math.fsum(dx1)]},
        **{"dx0_shortcut": ds, "dx0_branch": by_branch, "dx0": [p + q for p, q in zip(ds, by_branch, strict=True)]},
    }


def by_autograd(weights: Numbers, running: Numbers, case: Case) -> Values:
    """Return the same, gradients by torch's automatic differentiation, in float64."""

    def normalise(x: Tensor, gamma: Tensor, beta: Tensor, n: int) -> Tensor:
        if case.training and len(x) == 1:  # torch refuses a single value per channel
            return gamma * (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + EPSILON) + beta
        mean, variance = _tensor(running[f"mean{n}"]), _tensor(running[f"variance{n}"])
        return functional.batch_norm(x[:, None], mean, variance, gamma, beta, case.training, eps=EPSILON)[:, 0]

    parameters = {name: _tensor(value) for name, value in weights.items()}
    x0, dy = _tensor(*case.x0), _tensor(*case.dy)
    values = residual_block.by_autograd(parameters, x0, dy, lambda x, weight, bias: weight * x + bias, normalise)
    return {name: value.tolist() for name, value in values.items()}


def difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest absolute difference of corresponding numbers."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def for_sliders() -> dict[str, Any]:
    """Return the data from which the page's script starts."""
    return {"weights": WEIGHTS, "running": RUNNING, "cases": [asdict(case) for case in CASES], "epsilon": EPSILON}


def _normalise(x: Sequence[float], training: bool, mean: float, variance: float) -> tuple[list[float], float]:
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


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(first, second, strict=True))


def _tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
