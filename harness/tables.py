"""Run folders as DataFrames: everything that a report shows is read here, and nothing here needs torch.

Frames of several runs carry, beside a table's own columns, `run`, `seed`, `x` (the value of the key that figures put on
their horizontal axis or give one line each: depth unless only another number varies) and `series` (the other keys that
vary, as text: the arms of the comparison).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness import layout, records
from harness.config import ScheduleConfig, flatten, varying
from harness.records import RecordError, Run

RESULTS = ("status", "train_error", "test_error", "train_loss", "seconds", "parameters", "run")
OPTIONAL_RESULTS = ("holdout_error", "warmup_end")
NO_ARM = ("seed", "schedule.eval_every", "probes")
"""Keys that make no arm of a comparison: repetitions, and what is looked at."""


@dataclass(frozen=True)
class Tables:
    """The tables of one sweep folder."""

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of sweep.json; raises RecordError where the folder is no sweep."""
        about = records.read_json(self.folder / layout.SWEEP)
        runs = about.get("runs")
        if not isinstance(runs, list) or not runs or not all(isinstance(name, str) for name in runs):
            raise RecordError(f"{self.folder / layout.SWEEP}: names no runs")
        return about

    @cached_property
    def all_runs(self) -> list[Run]:
        """Every run that the sweep asked for; raises RecordError if one has no folder."""
        found = [Run(layout.runs_of(self.folder) / name) for name in self.about["runs"]]
        for run in found:
            if not run.folder.is_dir():
                raise RecordError(f"{run.folder}: the run's folder is missing")
        return found

    @cached_property
    def varying(self) -> list[str]:
        """The keys in which the runs differ."""
        return varying(self.flat)

    @cached_property
    def flat(self) -> list[dict[str, Any]]:
        """The choices of every run, flattened; milestones that follow from the steps are empty, since they are no choice."""
        found = [flatten(run.config) for run in self.all_runs]
        for choices in found:
            default = ScheduleConfig(steps=choices["schedule.steps"]).milestone_steps()
            if choices["schedule.milestones"] == " ".join(map(str, default)):
                choices["schedule.milestones"] = ""
        return found

    @cached_property
    def x(self) -> str:
        """The key on the horizontal axis: depth, or the first that varies where depth does not and is a number in every run."""
        numbers = [key for key in self.varying if key not in NO_ARM and all(_is_number(flat[key]) for flat in self.flat)]
        return numbers[0] if numbers and "depth" not in self.varying else "depth"

    @cached_property
    def series_keys(self) -> list[str]:
        """The keys that make the arms of the comparison."""
        return [key for key in self.varying if key not in (*NO_ARM, self.x)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: every key, the results, `error` (text) of a failed one, `x` and `series`."""
        return pd.DataFrame([self._row(run, flat) for run, flat in zip(self.all_runs, self.flat, strict=True)])

    @cached_property
    def results(self) -> list[str]:
        """The columns of results, of the optional ones those that some run has."""
        optional = [name for name in OPTIONAL_RESULTS if self.runs[name].notna().any()]
        return [*RESULTS[:3], *optional, *RESULTS[3:]]

    @cached_property
    def runs_table(self) -> pd.DataFrame:
        """What is written as runs.csv: every key, then the results."""
        table = self.runs[[*self.flat[0], *self.results]].copy()
        table["schedule.milestones"] = [flatten(run.config)["schedule.milestones"] for run in self.all_runs]
        return table

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that came to a result, diverged ones included."""
        return self.runs[self.runs["status"].isin(records.FINISHED)]

    def table(self, name: str) -> pd.DataFrame:
        """Return a table (steps, epochs, layers, blocks, ...) of all finished runs; empty where no run has it."""
        frames = []
        for row in self.finished.itertuples():
            run = Run(layout.runs_of(self.folder) / str(row.run))
            path = run.folder / layout.table(name)
            if path.is_file():
                frame = records.read_table(path)
                frames.append(frame.assign(run=row.run, series=row.series, x=row.x, seed=row.seed))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return self.table("epochs")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The rows of the counted layers: projections, which have no number, are left out."""
        table = self.table("layers")
        return table[table["layer"].notna()] if len(table) else table

    @cached_property
    def blocks(self) -> pd.DataFrame:
        return self.table("blocks")

    def _row(self, run: Run, flat: dict[str, Any]) -> dict[str, Any]:
        errors = ("train_error", "test_error", "holdout_error", "train_loss")
        results: dict[str, Any] = dict.fromkeys(errors, float("nan"))
        try:
            run.check(but=layout.PRIVATE)
            status = run.status | {"state": run.state_now} if run.has_status else {"state": records.WAITING}
            if status["state"] in records.FINISHED:
                results = {name: run.epochs[name].iloc[-1] for name in errors}
        except RecordError as error:
            status = {"state": records.DAMAGED, "error": str(error).replace(f"{run.folder.parent}/", "")}
        facts = {name: status.get(name) for name in ("seconds", "parameters", "warmup_end")}
        series = ", ".join(f"{key}={flat[key]}" for key in self.series_keys) or "all runs"
        about = {"status": status["state"], "error": status.get("error", ""), "run": run.name}
        return flat | results | facts | about | {"series": series, "x": flat[self.x]}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
