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
from harness.config import flatten, varying
from harness.records import RecordError, Run

RESULTS = ("status", "train_error", "test_error", "train_loss", "seconds", "parameters", "run")
NEVER_SERIES = ("seed", "schedule.milestones", "schedule.eval_every", "probes", "plugins")


@dataclass(frozen=True)
class Tables:
    """The tables of one sweep folder."""

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of sweep.json; raises RecordError where the folder is no sweep."""
        about = records.read_json(self.folder / layout.SWEEP)
        if not isinstance(about.get("runs"), list):
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
        return varying([flatten(run.config) for run in self.all_runs])

    @cached_property
    def x(self) -> str:
        """The key on the horizontal axis: depth, or the first number that varies where depth does not."""
        flat = flatten(self.all_runs[0].config)
        numbers = [k for k in self.varying if k not in NEVER_SERIES and isinstance(flat[k], int | float)]
        return numbers[0] if numbers and "depth" not in self.varying else "depth"

    @cached_property
    def series_keys(self) -> list[str]:
        """The keys that make the arms of the comparison."""
        return [key for key in self.varying if key not in (*NEVER_SERIES, self.x)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: every key, the results, `error` (text) of a failed one, `x` and `series`."""
        return pd.DataFrame([self._row(run) for run in self.all_runs])

    @cached_property
    def runs_table(self) -> pd.DataFrame:
        """What is written as runs.csv: every key, then the results."""
        extra = [name for name in ("holdout_error",) if self.runs[name].notna().any()]
        keys = list(flatten(self.all_runs[0].config))
        return self.runs[[*keys, *RESULTS[:3], *extra, *RESULTS[3:]]]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that came to a result, diverged ones included."""
        return self.runs[self.runs["status"].isin(records.FINISHED)]

    def table(self, name: str) -> pd.DataFrame:
        """Return a table (steps, epochs, layers, blocks, ...) of all finished runs; empty where no run has it."""
        frames = []
        for row in self.finished.itertuples():
            run = Run(layout.runs_of(self.folder) / str(row.run))
            path = run.folder / (f"{name}.csv" if name in ("steps", "epochs") else layout.probe_table(name))
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

    def _row(self, run: Run) -> dict[str, Any]:
        flat, status = flatten(run.config), run.status
        results: dict[str, Any] = dict.fromkeys(("train_error", "test_error", "holdout_error", "train_loss"), float("nan"))
        if status["state"] in records.FINISHED:
            results = {name: run.epochs[name].iloc[-1] for name in results}
        results |= {"status": status["state"], "seconds": status.get("seconds"), "parameters": status.get("parameters")}
        series = ", ".join(f"{key}={flat[key]}" for key in self.series_keys) or "all runs"
        return flat | results | {"run": run.name, "error": status.get("error", ""), "series": series, "x": flat[self.x]}
