"""What a training has recorded so far: the rows of its tables, kept in memory and written as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import layout, records

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows of steps.csv, epochs.csv and of each probe's table, as `harness.contents.COLUMNS` names their columns."""

    steps: list[Row] = field(default_factory=list)
    epochs: list[Row] = field(default_factory=list)
    probes: dict[str, list[Row]] = field(default_factory=dict)

    def add_epoch(self, done: int, per_epoch: int, values: dict[str, float], seconds: float) -> Row:
        """Add and return the row after `done` updates: the mean over the batches since the last row, and `values`."""
        recent = self.steps[self.epochs[-1]["step"] if self.epochs else 0 :]
        row: Row = {
            "step": done,
            "epoch": done // per_epoch,
            "learning_rate": recent[-1]["learning_rate"],
            "batch_loss": sum(step["loss"] for step in recent) / len(recent),
            "batch_error": sum(step["error"] for step in recent) / len(recent),
            **values,
            "seconds": seconds,
        }
        self.epochs.append(row)
        return row

    def add_start(self, values: dict[str, float], seconds: float) -> Row:
        """Add and return a row before the first update, which has no batches."""
        row: Row = {"step": 0, "epoch": 0, **values, "seconds": seconds}
        self.epochs.append(row)
        return row

    def cut(self, step: int) -> None:
        """Forget evaluations at or after `step`, and what was probed after it: the numbers of a net that is no longer one."""
        self.epochs = [row for row in self.epochs if row["step"] < step]
        self.probes = {name: [row for row in rows if row["step"] <= step] for name, rows in self.probes.items()}

    def write(self, folder: Path) -> None:
        """Write every table into a run's folder."""
        tables = {"steps": self.steps, "epochs": self.epochs, **self.probes}
        for name, content in tables.items():
            records.write_table(folder / layout.table(name), records.rows(layout.table(name), content))

    def state(self) -> str:
        """Return the rows as one text, for a checkpoint: a pickle of so many small values would take seconds."""
        return json.dumps({"steps": self.steps, "epochs": self.epochs, "probes": self.probes})

    @classmethod
    def from_state(cls, state: str) -> Rows:
        """Return the rows that `state` was made of, to the bit (Python writes a float so that reading gives it back)."""
        return cls(**json.loads(state))
