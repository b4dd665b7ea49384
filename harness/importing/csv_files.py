"""Read metrics from CSV files with a column of steps, as Lightning's CSVLogger and Keras' CSVLogger write them."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.records import reader
from harness.records.reader import RecordError

STEPS = ("step", "global_step", "iteration", "epoch")
"""Columns that count steps; the first one that a file has is used, and the others are no metrics."""


def read(paths: Sequence[Path]) -> tuple[dict[str, dict[int, float]], dict[str, Any]]:
    """Return the metrics of CSV files, and no choices. Files without a column of steps are left out.

    An empty cell is no value; the last value of a step counts. Of several files the metrics are named FILE/COLUMN, or
    FOLDER/FILE/COLUMN. A column with other text than numbers is no metric. Raises RecordError if no file has steps, or if one
    cannot be read.
    """
    stems, base = Counter(path.stem for path in paths), os.path.commonpath([path.parent for path in paths])
    names = [path.stem if stems[path.stem] == 1 else str(path.relative_to(base).with_suffix("")) for path in paths]
    tables = {name: table for name, path in zip(names, paths, strict=True) if (table := _table(path)) is not None}
    if not tables:
        raise RecordError(f"{paths[0]}: has no column {', '.join(STEPS[:-1])} or {STEPS[-1]}")
    if len(tables) == 1:
        return next(iter(tables.values())), {}
    return {f"{stem}/{name}": values for stem, table in tables.items() for name, values in table.items()}, {}


def _table(path: Path) -> dict[str, dict[int, float]] | None:
    """Return the metrics of a file; None if it has no column of steps."""
    data = reader.read_bytes(path, reader.MAX_TABLE)
    with reader.parsing(path):
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        counter = next((name for name in STEPS if name in (rows.fieldnames or ())), None)
        if counter is None:
            return None
        names = [name for name in rows.fieldnames or () if name not in STEPS]
        metrics: dict[str, dict[int, float]] = {name: {} for name in names}
        for row in rows:
            if not row[counter]:
                continue
            step = float(row[counter])
            if not step.is_integer():
                raise ValueError(f"{counter}: must be a whole number, not {step:g}")
            for name in list(metrics):
                if row[name]:
                    try:
                        metrics[name][int(step)] = float(row[name])
                    except ValueError:
                        del metrics[name]
    return {name: values for name, values in metrics.items() if values}
