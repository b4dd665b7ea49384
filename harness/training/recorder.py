"""What a training has recorded so far: the rows of its tables, kept in memory and written as a whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import paths, writer

Row = dict[str, Any]


@dataclass
class Rows:
    """Rows of steps.csv, epochs.csv and of each probe's table, as `harness.records.schema.COLUMNS` names their columns.

    `norms` are pieces of [steps, layers], one row a step as in `steps`, where every step's gradient norms are kept: of the
    layers named `layers`.
    """

    steps: list[Row] = field(default_factory=list)
    epochs: list[Row] = field(default_factory=list)
    probes: dict[str, list[Row]] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    norms: list[NDArray[np.float32]] = field(default_factory=list)

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
        self.norms = [self.joined_norms()[: step + 1]]

    def joined_norms(self) -> NDArray[np.float32]:
        """Return the gradient norms so far, [steps, layers], in one piece."""
        self.norms = [np.concatenate([np.empty((0, len(self.layers)), np.float32), *self.norms])]
        return self.norms[0]

    def write(self, folder: Path) -> None:
        """Write every table into a run's folder."""
        tables = {"steps": self.steps, "epochs": self.epochs, **self.probes}
        for name, content in tables.items():
            writer.write_table(folder / paths.table(name), writer.rows(paths.table(name), content))
        if self.layers:
            vectors = np.ascontiguousarray(self.joined_norms().T)
            writer.write_vectors(folder / paths.GRADIENT_NORMS, dict(zip(self.layers, vectors, strict=True)))

    def state(self) -> str:
        """Return all but the norms as one text, for a checkpoint: a pickle of so many small values would take seconds."""
        return json.dumps({"steps": self.steps, "epochs": self.epochs, "probes": self.probes})

    def take_up(self, state: str, norms: NDArray[np.float32]) -> None:
        """Go on from `state` and norms, to the bit (Python writes a float so that reading gives it back)."""
        content = json.loads(state)
        self.steps, self.epochs, self.probes = content["steps"], content["epochs"], content["probes"]
        self.norms = [norms]
