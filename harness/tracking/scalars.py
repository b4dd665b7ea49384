"""The rows of a run as named scalars by step: `TABLE/COLUMN`, or `TABLE/COLUMN/NAME` in tables with a row for each module.

Tables and columns have the names of `harness.records.schema`: `steps/loss`, `epochs/test_error`, `layers/grad_norm/linear`,
`gradient_norms/linear`. Only finite numbers are scalars.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.records import paths, reader
from harness.records.run import Run
from harness.records.schema import TEXT_COLUMNS, WHOLE_COLUMNS

Scalars = tuple[int, dict[str, float]]
"""A step, and the values measured there, by name."""
LABELS = (*WHOLE_COLUMNS, *TEXT_COLUMNS, "stage", "elements")
"""Columns that tell rows apart or never change; they are no scalars."""


def scalars(table: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Scalars]:
    """Yield the scalars of a table's rows; consecutive rows of one step are joined."""
    step, values = -1, dict[str, float]()
    for row in rows:
        if row["step"] != step:
            if values:
                yield step, values
            step, values = int(row["step"]), {}
        place = f"/{row['name']}" if "name" in row else ""
        for column, value in row.items():
            if column not in LABELS and isinstance(value, int | float) and math.isfinite(value):
                values[f"{table}/{column}{place}"] = float(value)
    if values:
        yield step, values


def scalars_on_disk(run: Run, without: str = "") -> Iterator[Scalars]:
    """Yield the scalars of every table that a run's folder has, `without` one. Raises RecordError if a table is damaged."""
    for name in (name for name in run.table_names if name != without):
        path = run.folder / paths.table(name)
        if path.exists():
            yield from scalars(name, reader.read_table(path).to_dict("records"))
