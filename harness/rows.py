"""What a training has recorded so far: the rows of its tables, kept in memory and written as a whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness import layout, records

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows of steps.csv, epochs.csv and of each probe's table, as `harness.records.COLUMNS` names their columns."""

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

    def cut(self, step: int) -> None:
        """Forget evaluations at or after `step`, and what was probed after it: the numbers of a net that is no longer one."""
        self.epochs = [row for row in self.epochs if row["step"] < step]
        self.probes = {name: [row for row in rows if row["step"] <= step] for name, rows in self.probes.items()}

    def write(self, folder: Path) -> None:
        """Write every table into a run's folder."""
        tables = {"steps": self.steps, "epochs": self.epochs, **self.probes}
        for name, content in tables.items():
            records.write_table(folder / layout.table(name), records.rows(layout.table(name), content))

    def state(self) -> dict[str, Any]:
        """Return the rows as plain values, for a checkpoint; `Rows(**state)` gives them back."""
        return asdict(self)
