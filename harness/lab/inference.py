"""Does residual learning act at inference, too? Branches and shortcuts taken out of trained nets."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from harness.lab import charts
from harness.lab.document import Chart, Element, Row, Table, columns, message
from harness.lab.runs import Records
from harness.lab.summaries import errors, spread
from harness.records.run import Run

FATAL = 30.0
"""Rise of the test error, in points, that counts as fatal, as in claim L1."""


def chapter(records: Records) -> Iterator[Element]:
    """Tabulate the cost of each removal, and draw the conclusions."""
    residual, plain = records["identity-20"].values(), records["none-20"].values()
    rises = {
        "branch": [_rise(run, "lesions") for run in residual],
        "shortcut": [_rise(run, "shortcut_lesions") for run in residual],
        "all": [_rise(run, "shortcut_lesions", "block == 0") for run in residual],
        "plain": [_rise(run, "lesions") for run in plain],
    }
    means = {removal: fmean(by_seed) for removal, by_seed in rises.items()}
    values = {removal: f"{rise:.1f}" for removal, rise in means.items()}
    values["intact"] = spread(errors(records["identity-20"], "test_error").values())
    yield message("inference.idea")
    rows: list[Row] = [[message(f"inference.{removal}"), spread(by_seed)] for removal, by_seed in rises.items()]
    yield Table(columns("taken_out", "rise"), rows)
    yield message(f"inference.{'acts' if means['all'] > FATAL else 'idle'}", **values)
    yield message(f"inference.{'mild' if means['branch'] < means['plain'] else 'as_fatal'}", **values)
    yield Chart("lesions", message("inference.chart"), charts.lesions(records))


def _rise(run: Run, probe: str, blocks: str = "block > 0") -> float:
    """Return the rise of the test error in points, the median over the rows of the probe's table that `blocks` selects."""
    return float(run.probe(probe).query(blocks)["test_error"].median()) - run.test_error
