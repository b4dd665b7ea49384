"""The residual block on numbers: one channel, one pixel.

templates/lab.js has the same formulas in plain arithmetic for the page's sliders (a test compares the results).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.lab import residual_block
from harness.lab.residual_block import Tensors

Values = dict[str, list[float]]
"""Quantities by name: a number for each example, or one for a parameter."""
Numbers = dict[str, float]
WEIGHTS: Numbers = {"W1": 0.8, "b1": 0.1, "gamma1": 1.5, "beta1": 0.2, "W2": -0.6, "b2": 0.05, "gamma2": 0.5, "beta2": 0.1}
"""The block's parameters, which the note leaves open."""
RUNNING: Numbers = {"mean1": 0.3, "variance1": 0.5, "mean2": 0.2, "variance2": 0.4}
"""Running mean and variance of the two normalisations, as training might have left them."""
SYMBOLS = dict(zip(WEIGHTS | RUNNING, ["W₁", "b₁", "γ₁", "β₁", "W₂", "b₂", "γ₂", "β₂", "μ₁", "σ²₁", "μ₂", "σ²₂"], strict=True))


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


def by_formula(weights: Numbers, running: Numbers, case: Case) -> Values:
    """Return every quantity in float64."""
    quantities = residual_block.by_formula(*_tensors(weights, running, case), case.training)
    return {name: value.flatten().tolist() for name, value in quantities}


def by_autograd(weights: Numbers, running: Numbers, case: Case) -> Values:
    """Return the same, gradients by torch's automatic differentiation."""
    quantities = residual_block.by_autograd(*_tensors(weights, running, case), case.training)
    return {name: value.flatten().tolist() for name, value in quantities.items()}


def difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest absolute difference of corresponding numbers."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def _tensors(weights: Numbers, running: Numbers, case: Case) -> tuple[Tensors, Tensors, Tensor, Tensor]:
    """Return weights [1, 1, 1, 1], other parameters and running statistics [1], and x0 and dL/dy [N, 1, 1, 1]."""
    tensors = {name: torch.tensor([value], dtype=torch.float64) for name, value in (weights | running).items()}
    parameters = {name: tensors[name].view(1, 1, 1, 1) if name.startswith("W") else tensors[name] for name in weights}
    x0, dy = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1) for values in (case.x0, case.dy))
    return parameters, {name: tensors[name] for name in running}, x0, dy
