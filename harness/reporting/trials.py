"""Report on the trials of a search, the best first."""

from __future__ import annotations

import math
from typing import Any

from harness.analysis.tables import Tables
from harness.reporting.document import Section, Table, Text, format_value

ABOUT = (
    "The best trial was selected among all of them by this value, so the value is biased towards the better side. Runs with "
    "other seeds show by how much."
)


def sections(tables: Tables) -> list[Section]:
    """Return the section on the trials; none if the sweep is not a search."""
    search, trials = tables.about.get("search"), tables.about.get("trials")
    if not search or not trials:
        return []
    ordered = sorted(trials, key=lambda trial: math.inf if trial["value"] is None else trial["value"])
    keys = list(trials[0]["parameters"])
    rows = [[format_value(cell) for cell in _cells(trial, keys)] for trial in ordered]
    about = (
        f"{len(trials)} trials of Optuna {search['optuna']}, {search['sampler']} with seed {search['seed']}, "
        f"{search['batch']} at a time. Objective: the least {search['objective']}. A diverged run has the value of a guess."
    )
    header = ["trial", search["objective"], "state", *keys, "run"]
    return [Section("Trials", [Text(about), Table(header, rows, tools=True, name="trials"), Text(ABOUT)])]


def _cells(trial: dict[str, Any], keys: list[str]) -> list[Any]:
    return [trial["number"], trial["value"], trial["state"], *(trial["parameters"].get(key) for key in keys), trial["run"]]
