"""The results of a finished run, read from the ends of its tables."""

from __future__ import annotations

import math
from typing import Any

from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run

AT_END = ("train_error", "test_error", "holdout_error", "train_loss")
"""Columns of the last row of epochs.csv that are results."""
CLOSING = 50
"""Steps at the end of a run over which `batch_error` is the mean."""
NO_RESULTS: dict[str, Any] = dict.fromkeys((*AT_END, "batch_error"), math.nan) | {"overflowed": None}


def results_at_end(run: Run, state: str) -> dict[str, Any]:
    """Return the results of a finished run, with the keys of NO_RESULTS. Raises RecordError if its tables have none."""
    row = reader.read_table(run.folder / paths.EPOCHS, [*AT_END, "test_loss", "holdout_loss"]).iloc[-1]
    for name in AT_END[:3]:
        if not (0 <= row[name] <= 100) and (name != "holdout_error" or math.isfinite(row[name])):
            raise RecordError(f"{run.folder / paths.EPOCHS}: {name}: must be a number from 0 to 100 in the last row")
    parts = [name.removesuffix("_error") for name in AT_END[:3] if math.isfinite(row[name])]
    overflowed = [part for part in parts if state == states.DONE and not math.isfinite(row[f"{part}_loss"])]
    results = NO_RESULTS | {name: float(row[name]) for name in AT_END} | {"overflowed": " ".join(overflowed) or None}
    if (run.folder / paths.STEPS).is_file():
        errors = reader.read_table(run.folder / paths.STEPS, ["error"], last=CLOSING)["error"]
        if not errors.between(0, 100).all():
            raise RecordError(f"{run.folder / paths.STEPS}: error: must be a number from 0 to 100")
        results["batch_error"] = float(errors.mean())
    return results
