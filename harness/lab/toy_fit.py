"""Is F near 0 easier to learn than H near x? The same small branch fits a map with and without a shortcut around it.

F(x) = W2 ReLU(W1 x + b1) + b2 has 16 inputs and 64 hidden units, enough to represent any linear map exactly, so both H = F and
H = x + F can represent every target here. Both start from the same weights and take 500 steps of full-batch gradient descent on
the mean squared error over the same 128 normal vectors, each at the learning rate that gives it the lowest final loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.config.seeds import stream_seed
from harness.lab import charts
from harness.lab.document import Chart, Element, Row, Table, columns, message

SEEDS, INPUTS, HIDDEN, EXAMPLES, STEPS = 5, 16, 64, 128, 500
RATES = (0.3, 1.0, 3.0)
SHOWN = (0, 10, 100, STEPS)
"""Steps whose loss the table shows."""
ARMS = {"plain": 0.0, "residual": 1.0}
"""The factor of x."""


@dataclass(frozen=True)
class Fit:
    """The best learning rate of an arm, and its losses [STEPS + 1, SEEDS]."""

    rate: float
    losses: Tensor


def chapter() -> Iterator[Element]:
    """Compare the losses of both arms on every target."""
    rows: list[Row] = []
    verdicts, fitted = [], fits()
    for target, arms in fitted.items():
        title = message(f"easier.target_{target}")
        for arm, fit in arms.items():
            medians = [f"{float(fit.losses[step].median()):.2g}" for step in SHOWN]
            rows.append([title, message(f"easier.{arm}"), f"{fit.rate:g}", *medians])
        lower = {step: int((arms["residual"].losses[step] < arms["plain"].losses[step]).sum()) for step in SHOWN}
        start, early, late = lower[0], lower[100], lower[STEPS]
        verdict = "easier" if min(early, late) == SEEDS else "harder" if max(early, late) == 0 else "mixed"
        verdicts.append(message(f"easier.{verdict}", target=title, start=start, early=early, late=late, seeds=SEEDS))
    yield message("easier.how")
    yield Table([*columns("target", "arm", "rate"), *(message("col.loss_at", step=step) for step in SHOWN)], rows)
    yield from verdicts
    losses = {target: {arm: fit.losses for arm, fit in arms.items()} for target, arms in fitted.items()}
    yield Chart("easier", message("easier.chart"), charts.fits(losses))


def fits() -> Mapping[str, Mapping[str, Fit]]:
    """Return the fit by target and arm."""
    x = _normal("x", SEEDS, EXAMPLES, INPUTS)
    rotated = x @ torch.linalg.qr(_normal("Q", SEEDS, INPUTS, INPUTS))[0]
    targets = {"identity": x, "near": x + 0.1 * rotated, "rotation": rotated}
    return {name: {arm: _best(x, target, factor) for arm, factor in ARMS.items()} for name, target in targets.items()}


def _best(x: Tensor, target: Tensor, factor: float) -> Fit:
    candidates = [Fit(rate, _descend(x, target, factor, rate)) for rate in RATES]
    return min(candidates, key=lambda fit: float(fit.losses[-1].nan_to_num(torch.inf).median()))


def _descend(x: Tensor, target: Tensor, factor: float, rate: float) -> Tensor:
    """Return the loss of every seed before each step and after the last, [STEPS + 1, SEEDS], all seeds at once."""
    weights = [
        _normal("W1", SEEDS, INPUTS, HIDDEN) * (2 / INPUTS) ** 0.5,
        torch.zeros(SEEDS, 1, HIDDEN, dtype=x.dtype),
        _normal("W2", SEEDS, HIDDEN, INPUTS) * (1 / HIDDEN) ** 0.5,
        torch.zeros(SEEDS, 1, INPUTS, dtype=x.dtype),
    ]
    for weight in weights:
        weight.requires_grad_()
    losses = []
    for _ in range(STEPS + 1):
        hidden = torch.relu(x @ weights[0] + weights[1])
        loss = (factor * x + hidden @ weights[2] + weights[3] - target).square().mean((1, 2))
        losses.append(loss.detach())
        gradients = torch.autograd.grad(loss.sum(), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= rate * gradient
    return torch.stack(losses)


def _normal(name: str, *shape: int) -> Tensor:
    """Return independent normal numbers from the fixed stream `name`, float64."""
    generator = torch.Generator().manual_seed(stream_seed(0, "lab toy", name))
    return torch.randn(shape, generator=generator, dtype=torch.float64)
