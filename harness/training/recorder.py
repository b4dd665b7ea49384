"""The rows of a training's tables: kept in memory, and written together, with every checkpoint and at the end."""

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
class Recorder:
    """Rows of steps.csv, of epochs.csv and of each probe's table, with the columns of `harness.records.schema.COLUMNS`.

    Args:
        layers: names of the layers whose gradient norm is recorded at every step; empty if none is.
        norms: these norms in chunks of [steps, layers], in the order of `steps`.
    """

    steps: list[Row] = field(default_factory=list)
    epochs: list[Row] = field(default_factory=list)
    probes: dict[str, list[Row]] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    norms: list[NDArray[np.float32]] = field(default_factory=list)

    def add_epoch(self, step: int, per_epoch: int, values: dict[str, float], seconds: float) -> Row:
        """Add and return a row of epochs.csv: means over the batches since the last row, and `values`.

        Args:
            step: number of updates completed. Before the first one there are no batches to average.
            per_epoch: steps in an epoch.
            seconds: time spent on the training.
        """
        row: Row = {"step": step, "epoch": step // per_epoch, **values, "seconds": seconds}
        if batches := self.steps[self.epochs[-1]["step"] if self.epochs else 0 :]:
            row["learning_rate"] = batches[-1]["learning_rate"]
            for name in ("loss", "error"):
                row[f"batch_{name}"] = sum(batch[name] for batch in batches) / len(batches)
        self.epochs.append(row)
        return row

    def drop_after_divergence(self, step: int) -> None:
        """Drop rows recorded after the network diverged: evaluations at or after `step`, and probes and norms after it."""
        self.epochs = [row for row in self.epochs if row["step"] < step]
        self.probes = {name: [row for row in rows if row["step"] <= step] for name, rows in self.probes.items()}
        self.norms = [self.joined_norms()[: step + 1]]

    def joined_norms(self) -> NDArray[np.float32]:
        """Return the gradient norms so far as one array, [steps, layers]."""
        self.norms = [np.concatenate([np.empty((0, len(self.layers)), np.float32), *self.norms])]
        return self.norms[0]

    def write(self, folder: Path, so_far: bool = False) -> None:
        """Write every table into a run's folder.

        Args:
            so_far: the run has not ended: a table without rows is removed, not written, and nothing is flushed to disk.
        """
        for name, rows in {"steps": self.steps, "epochs": self.epochs, **self.probes}.items():
            path = folder / paths.table(name)
            if so_far and not rows:
                path.unlink(missing_ok=True)
            else:
                writer.write_table(path, writer.make_table(path.name, rows), durable=not so_far)
        if self.layers:
            vectors = np.ascontiguousarray(self.joined_norms().T)
            named = dict(zip(self.layers, vectors, strict=True))
            writer.write_vectors(folder / paths.GRADIENT_NORMS, named, durable=not so_far)

    def state(self) -> str:
        """Return all rows as JSON for a checkpoint; pickling so many small values would take seconds."""
        return json.dumps({"steps": self.steps, "epochs": self.epochs, "probes": self.probes})

    def load_state(self, state: str, norms: NDArray[np.float32]) -> None:
        """Restore the rows of `state` and the norms, bit-identical: a float's JSON text reads back as the same float."""
        content = json.loads(state)
        self.steps, self.epochs, self.probes = content["steps"], content["epochs"], content["probes"]
        self.norms = [norms]
