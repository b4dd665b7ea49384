"""Does residual learning act at inference, too? Branches and shortcuts taken out of trained nets."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from harness.lab import charts
from harness.lab.document import Element, Message, chart, columns
from harness.lab.runs import Records
from harness.lab.summaries import errors, spread
from harness.reporting.document import Table

FATAL = 30.0
"""Rise of the test error, in points, that counts as fatal, as in claim L1."""
REMOVALS = {
    "branch": ("identity-20", "lesions", "block > 0"),
    "shortcut": ("identity-20", "shortcut_lesions", "block > 0"),
    "all": ("identity-20", "shortcut_lesions", "block == 0"),
    "plain": ("none-20", "lesions", "block > 0"),
}
"""The nets, the probe and the rows of its table for each removal."""


def chapter(records: Records) -> Iterator[Element]:
    """Tabulate the cost of each removal, and draw the conclusions."""
    rises = {
        removal: [float(run.probe(probe).query(blocks)["test_error"].median()) - run.test_error for run in records[net].values()]
        for removal, (net, probe, blocks) in REMOVALS.items()
    }
    means = {removal: fmean(by_seed) for removal, by_seed in rises.items()}
    values = {removal: f"{rise:.1f}" for removal, rise in means.items()}
    values["intact"] = spread(errors(records["identity-20"], "test_error").values())
    yield Message("inference.idea")
    yield Table(columns("taken_out", "rise"), [[Message(f"inference.{removal}"), spread(rises[removal])] for removal in rises])
    yield Message(f"inference.{'acts' if means['all'] > FATAL else 'idle'}", **values)
    yield Message(f"inference.{'mild' if means['branch'] < means['plain'] else 'as_fatal'}", **values)
    yield chart("lesions", "inference.chart", charts.lesions(records))
