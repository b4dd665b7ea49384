"""What does batch normalisation give? Steps to a fixed loss with and without it, at several learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from harness.lab.document import Element, Message, columns
from harness.lab.runs import RATES, SCHEDULE, Records
from harness.lab.summaries import steps_to
from harness.records.run import Run
from harness.records.states import DIVERGED
from harness.reporting.document import Table

LOSS = 0.5


def chapter(records: Records) -> Iterator[Element]:
    """Tabulate the steps, and compare both norms at their best rate."""
    rows = []
    medians: dict[str, list[float]] = {"batch": [], "none": []}
    for norm, by_rate in medians.items():
        for rate in RATES:
            runs = records[f"norm={norm}, rate={rate:g}"].values()
            rows.append([f"norm={norm}", f"{rate:g}", *map(_cell, runs)])
            by_rate.append(median(steps_to(run, LOSS) for run in runs))
    batch, none = (min(by_rate) for by_rate in medians.values())
    usable = {f"usable_{norm}": sum(map(math.isfinite, by_rate)) for norm, by_rate in medians.items()}
    outcome = "never" if math.isinf(none) else "faster" if batch < none else "slower"
    seeds = records[f"norm=batch, rate={RATES[0]:g}"]
    yield Message("norms.how", loss=f"{LOSS:g}", steps=SCHEDULE.steps)
    yield Table([*columns("net", "rate"), *(Message("col.seed", seed=seed) for seed in seeds)], rows)
    yield Message(f"norms.{outcome}", batch=f"{batch:.0f}".replace("inf", "∞"), none=f"{none:.0f}")
    yield Message("norms.rates", rates=len(RATES), **usable)
    yield Message("norms.why")


def _cell(run: Run) -> str:
    """Return after how many steps a run reached the loss, or why it did not."""
    if math.isinf(steps := steps_to(run, LOSS)):
        return Message("norms.diverged" if run.state == DIVERGED else "norms.not_reached")
    return f"{steps:.0f}"
