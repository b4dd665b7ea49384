"""What does batch normalisation give? Steps to a fixed loss with and without it, at several learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from harness.lab.document import Cell, Element, Row, Table, columns, message
from harness.lab.runs import RATES, SCHEDULE, Records
from harness.lab.summaries import steps_to
from harness.records.run import Run
from harness.records.states import DIVERGED

LOSS = 0.5


def chapter(records: Records) -> Iterator[Element]:
    """Tabulate the steps, and compare both norms at their best rate."""
    rows: list[Row] = []
    steps: dict[str, list[float]] = {"batch": [], "none": []}
    for norm, medians in steps.items():
        for rate in RATES:
            runs = list(records[f"norm={norm}, rate={rate:g}"].values())
            rows.append([f"norm={norm}", f"{rate:g}", *map(_reached, runs)])
            medians.append(median(steps_to(run, LOSS) for run in runs))
    best = {norm: min(medians) for norm, medians in steps.items()}
    usable = {f"usable_{norm}": sum(map(math.isfinite, medians)) for norm, medians in steps.items()}
    numbers = {norm: f"{number:.0f}" if math.isfinite(number) else "∞" for norm, number in best.items()}
    outcome = "never" if math.isinf(best["none"]) else "faster" if best["batch"] < best["none"] else "slower"
    seeds = records[f"norm=batch, rate={RATES[0]:g}"]
    yield message("norms.how", loss=f"{LOSS:g}", steps=SCHEDULE.steps)
    yield Table([*columns("net", "rate"), *(message("col.seed", seed=seed) for seed in seeds)], rows)
    yield message(f"norms.{outcome}", **numbers)
    yield message("norms.rates", rates=len(RATES), **usable)
    yield message("norms.why")


def _reached(run: Run) -> Cell:
    """Return after how many steps a run reached the loss, or why it did not."""
    steps = steps_to(run, LOSS)
    if math.isfinite(steps):
        return f"{steps:.0f}"
    return message("norms.diverged" if run.state == DIVERGED else "norms.not_reached")
