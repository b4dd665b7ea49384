"""Is F near 0 easier to learn than H near x? The same small branch fits a map with and without a shortcut around it.

F(x) = W2 ReLU(W1 x + b1) + b2 has 16 inputs and 64 hidden units, enough to represent any linear map exactly, so both H = F and
H = x + F can represent every target here. Both start from the same weights and take 500 steps of full-batch gradient descent on
the mean squared error over the same 128 normal vectors, each at the learning rate that gives it the lowest final loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from harness.lab import charts, residual_block
from harness.lab.document import Element, Message, chart, columns
from harness.reporting.document import Table

SEEDS, INPUTS, HIDDEN, EXAMPLES, STEPS = 5, 16, 64, 128, 500
RATES = (0.3, 1.0, 3.0)
TABLE_STEPS = (0, 10, 100, STEPS)
ARMS = {"plain": 0.0, "residual": 1.0}
"""The factor of x."""
normal = partial(residual_block.normal, "lab toy")


class Fit(NamedTuple):
    """The best learning rate of an arm, and its losses [STEPS + 1, SEEDS]."""

    rate: float
    losses: Tensor


def chapter() -> Iterator[Element]:
    """Compare the losses of both arms on every target."""
    rows, verdicts = [], []
    fits = fit_targets()
    for target, arms in fits.items():
        title = Message(f"easier.target_{target}")
        for arm, (rate, losses) in arms.items():
            medians = [f"{float(losses[step].median()):.2g}" for step in TABLE_STEPS]
            rows.append([title, Message(f"easier.{arm}"), f"{rate:g}", *medians])
        lower = (arms["residual"].losses < arms["plain"].losses).sum(1)
        start, early, late = (int(lower[step]) for step in (0, 100, STEPS))
        verdict = "easier" if min(early, late) == SEEDS else "harder" if max(early, late) == 0 else "mixed"
        verdicts.append(Message(f"easier.{verdict}", target=title, start=start, early=early, late=late, seeds=SEEDS))
    yield Message("easier.how")
    yield Table([*columns("target", "arm", "rate"), *(Message("col.loss_at", step=step) for step in TABLE_STEPS)], rows)
    yield from verdicts
    curves = {target: {arm: fit.losses for arm, fit in arms.items()} for target, arms in fits.items()}
    yield chart("easier", "easier.chart", charts.fits(curves))


def fit_targets() -> Mapping[str, Mapping[str, Fit]]:
    """Return the fit by target and arm."""
    x = normal("x", (SEEDS, EXAMPLES, INPUTS))
    rotated = x @ torch.linalg.qr(normal("Q", (SEEDS, INPUTS, INPUTS)))[0]
    targets = {"identity": x, "near": x + 0.1 * rotated, "rotation": rotated}
    return {name: {arm: _best(x, target, factor) for arm, factor in ARMS.items()} for name, target in targets.items()}


def _best(x: Tensor, target: Tensor, factor: float) -> Fit:
    candidates = [Fit(rate, _descend(x, target, factor, rate)) for rate in RATES]
    return min(candidates, key=lambda fit: float(fit.losses[-1].nan_to_num(torch.inf).median()))


def _descend(x: Tensor, target: Tensor, factor: float, rate: float) -> Tensor:
    """Return the loss of every seed before each step and after the last, [STEPS + 1, SEEDS], all seeds at once."""
    weights = [
        normal("W1", (SEEDS, INPUTS, HIDDEN)) * (2 / INPUTS) ** 0.5,
        torch.zeros(SEEDS, 1, HIDDEN, dtype=x.dtype),
        normal("W2", (SEEDS, HIDDEN, INPUTS)) * (1 / HIDDEN) ** 0.5,
        torch.zeros(SEEDS, 1, INPUTS, dtype=x.dtype),
    ]
    for weight in weights:
        weight.requires_grad_()
    optimizer = torch.optim.SGD(weights, lr=rate)
    losses = []
    for _ in range(STEPS + 1):
        hidden = torch.relu(x @ weights[0] + weights[1])
        loss = (factor * x + hidden @ weights[2] + weights[3] - target).square().mean((1, 2))
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    return torch.stack(losses)
