"""Is F near 0 easier to learn than H near x? The same small branch fits a map with and without a shortcut around it.

F(x) = W2 ReLU(W1 x + b1) + b2 with 16 inputs and 64 hidden units, enough to be any linear map exactly, so that H = F and
H = x + F can both become every target here. Both start from the same weights, see the same 128 normal vectors, and take 500
steps of gradient descent on the mean squared error, each arm at that of several rates which ends lowest for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.config.seeds import stream_seed
from harness.lab import charts
from harness.lab.document import Chapter, Chart, Grid, Rows, said

SEEDS, INPUTS, HIDDEN, EXAMPLES, STEPS = 5, 16, 64, 128, 500
RATES = (0.3, 1.0, 3.0)
SHOWN = (0, 10, 100, STEPS)
ARMS = {"plain": 0.0, "residual": 1.0}
"""The factor of x."""


@dataclass(frozen=True)
class Fit:
    """The better rate of an arm, and its losses [STEPS + 1, SEEDS]."""

    rate: float
    losses: Tensor


def chapter() -> Chapter:
    """Return the question, its figure and its table."""
    found = fits()
    rows: Rows = []
    parts = []
    for target, arms in found.items():
        for arm, fit in arms.items():
            medians = [f"{float(fit.losses[step].median()):.2g}" for step in SHOWN]
            rows.append([said(f"easier.target_{target}"), said(f"easier.{arm}"), f"{fit.rate:g}", *medians])
        lower = {step: int((arms["residual"].losses[step] < arms["plain"].losses[step]).sum()) for step in SHOWN}
        always = min(lower[100], lower[STEPS])
        verdict = "easier" if always == SEEDS else "harder" if max(lower[100], lower[STEPS]) == 0 else "mixed"
        numbers = {"start": lower[0], "early": lower[100], "late": lower[STEPS], "seeds": SEEDS}
        parts.append(said(f"easier.{verdict}", target=said(f"easier.target_{target}"), **numbers))
    header = [said("col.target"), said("col.arm"), said("col.rate"), *(said("col.loss_at", step=step) for step in SHOWN)]
    figure = charts.fits({t: {arm: fit.losses for arm, fit in arms.items()} for t, arms in found.items()}, range(STEPS + 1))
    return Chapter("easier", [said("easier.how"), Grid(header, rows), *parts, Chart("easier", said("easier.chart"), figure)])


def fits() -> Mapping[str, Mapping[str, Fit]]:
    """Return the fit of every target by both arms."""
    x = _drawn("x", SEEDS, EXAMPLES, INPUTS)
    rotation = torch.linalg.qr(_drawn("Q", SEEDS, INPUTS, INPUTS))[0]
    turned = x @ rotation
    targets = {"identity": x, "near": x + 0.1 * turned, "rotation": turned}
    return {name: {arm: _best(x, target, factor) for arm, factor in ARMS.items()} for name, target in targets.items()}


def _best(x: Tensor, target: Tensor, factor: float) -> Fit:
    tried = [Fit(rate, _descend(x, target, factor, rate)) for rate in RATES]
    return min(tried, key=lambda fit: float(fit.losses[-1].nan_to_num(torch.inf).median()))


def _descend(x: Tensor, target: Tensor, factor: float, rate: float) -> Tensor:
    """Return the loss of every seed before each step and after the last, [STEPS + 1, SEEDS], all seeds at once."""
    weights = [
        _drawn("W1", SEEDS, INPUTS, HIDDEN) * (2 / INPUTS) ** 0.5,
        torch.zeros(SEEDS, 1, HIDDEN, dtype=x.dtype),
        _drawn("W2", SEEDS, HIDDEN, INPUTS) * (1 / HIDDEN) ** 0.5,
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


def _drawn(name: str, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(stream_seed(0, "lab toy", name))
    return torch.randn(shape, generator=generator, dtype=torch.float64)
