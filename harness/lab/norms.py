"""What does batch normalisation give? Steps to a fixed loss with and without it, at several learning rates."""

from __future__ import annotations

import math

from harness.lab.document import Chapter, Grid, Rows, Words, said
from harness.lab.runs import RATES, SCHEDULE, Records
from harness.lab.summaries import median, steps_to
from harness.records.run import Run
from harness.records.states import DIVERGED

LOSS = 0.5


def chapter(records: Records) -> Chapter:
    """Return the table of steps, and what each norm needs at its best rate."""
    rows: Rows = []
    best: dict[str, float] = {}
    usable: dict[str, int] = {}
    for norm in ("batch", "none"):
        typical = {}
        for rate in RATES:
            runs = list(records[f"norm={norm}, rate={rate:g}"].values())
            rows.append([f"norm={norm}", f"{rate:g}", *map(_reached, runs)])
            typical[rate] = median(steps_to(run, LOSS) for run in runs)
        best[norm] = min(typical.values())
        usable[norm] = sum(math.isfinite(steps) for steps in typical.values())
    header = [said("col.net"), said("col.rate"), *(said("col.seed", seed=seed) for seed in records["norm=batch, rate=0.01"])]
    outcome = "never" if math.isinf(best["none"]) else "faster" if best["batch"] < best["none"] else "slower"
    numbers: dict[str, str | int] = {
        "loss": f"{LOSS:g}",
        "steps": SCHEDULE.steps,
        "batch": _count(best["batch"]),
        "none": _count(best["none"]),
    }
    ranges: dict[str, int] = {"rates": len(RATES), "usable_batch": usable["batch"], "usable_none": usable["none"]}
    return Chapter(
        "norms",
        [
            said("norms.how", **numbers),
            Grid(header, rows),
            said(f"norms.{outcome}", **numbers),
            said("norms.rates", **ranges),
            said("norms.why"),
        ],
    )


def _reached(run: Run) -> Words:
    """Say after how many steps a run reached the loss, or what became of it instead."""
    steps = steps_to(run, LOSS)
    if math.isfinite(steps):
        return _count(steps)
    return said("norms.diverged") if run.state == DIVERGED else said("norms.not_reached")


def _count(steps: float) -> str:
    return f"{steps:.0f}" if math.isfinite(steps) else "∞"
