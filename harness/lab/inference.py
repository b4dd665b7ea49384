"""Does residual learning act at inference, too? Branches and shortcuts taken out of trained nets."""

from __future__ import annotations

from harness.lab import charts
from harness.lab.document import Chapter, Chart, Grid, Rows, said
from harness.lab.runs import Records
from harness.lab.summaries import errors, mean, median, spread
from harness.records.run import Run

FATAL = 30.0
"""Points of test error from which on a rise is called fatal, as in claim L1."""


def chapter(records: Records) -> Chapter:
    """Return the table of what each removal costs, and what follows from it."""
    residual, plain = records["identity-20"], records["none-20"]
    found = {
        "branch": {seed: _rise(run, "lesions") for seed, run in residual.items()},
        "shortcut": {seed: _rise(run, "shortcut_lesions") for seed, run in residual.items()},
        "all": {seed: _without_all(run) - run.test_error for seed, run in residual.items()},
        "plain": {seed: _rise(run, "lesions") for seed, run in plain.items()},
    }
    rows: Rows = [[said(f"inference.{name}"), spread(by_seed.values())] for name, by_seed in found.items()]
    acts = "acts" if mean(found["all"].values()) > FATAL else "idle"
    mild = "mild" if mean(found["branch"].values()) < mean(found["plain"].values()) else "as_fatal"
    values = {name: f"{mean(by_seed.values()):.1f}" for name, by_seed in found.items()}
    values |= {"intact": spread(errors(residual, "test_error").values())}
    return Chapter(
        "inference",
        [
            said("inference.idea"),
            Grid([said("col.taken_out"), said("col.rise")], rows),
            said(f"inference.{acts}", **values),
            said(f"inference.{mild}", **values),
            Chart("lesions", said("inference.chart"), charts.lesions(records)),
        ],
    )


def _rise(run: Run, probe: str) -> float:
    """Return the median rise of the test error, in points, over the blocks taken out one at a time."""
    table = run.probe(probe).query("block > 0")
    return median(table["test_error"]) - run.test_error


def _without_all(run: Run) -> float:
    return float(run.probe("shortcut_lesions").query("block == 0")["test_error"].iloc[0])
