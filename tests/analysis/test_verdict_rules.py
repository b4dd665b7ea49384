"""The required error rates of the verdicts, and the finding that reports them."""

import csv
import math
from pathlib import Path

import pytest

from benchmarks import simulate_verdicts

FINDING = Path(__file__).resolve().parents[2] / "results" / "findings" / "2026-11-23-verdict-rules"
CELLS = list(simulate_verdicts.cells())


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.required and cell.seeds == 5], ids=lambda cell: cell.rule)
def test_required_error_rates(cell):
    """2,000 repetitions of each rule: four standard errors are 2 points at 5 % and 3.6 at 80 %."""
    share = cell.shares(2000)[cell.of]
    low, high = cell.expected
    slack = 4 * math.sqrt(max(low * (1 - low), high * (1 - high)) / 2000)
    assert low - slack <= share <= high + slack


def test_the_finding_shows_these_rules():
    """Its cells are those of the script; every requirement is met, and the README lists unmet expectations."""
    with (FINDING / "rates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rule"], row["truth"], int(row["seeds"])) for row in rows] == [(c.rule, c.truth, c.seeds) for c in CELLS]
    assert min(int(row["repetitions"]) for row in rows) >= 20_000
    assert {row["met"] for row in rows if row["required"] == "yes"} == {"yes"}
    text = (FINDING / "README.md").read_text()
    against = text.split("## What went against expectation")[1]
    for row in rows:
        assert row["met"] == "yes" or f"- {row['rule']}; {row['truth']}; {row['seeds']} seeds" in against
    cell = next(c for c in CELLS if c.required)
    assert {kind.value: f"{share:.4f}" for kind, share in cell.shares(20_000).items()}.items() <= rows[0].items()
