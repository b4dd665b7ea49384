"""The objective of a search: a result of a run as one number, of which less is better."""

from __future__ import annotations

import math

from harness.analysis.run_results import results_at_end
from harness.config.registry import ChoiceError, unknown
from harness.records import states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.records.schema import OPTIONAL_RESULTS, RESULTS, TEXT_COLUMNS

OBJECTIVES = tuple(name for name in (*RESULTS, *OPTIONAL_RESULTS) if name not in TEXT_COLUMNS)
"""The numeric results in runs.csv."""
NEEDS = {"holdout_error": ("data.split", "holdout"), "warmup_end": ("schedule.warmup", "until_error")}
"""The key, and its value, without which a run has no such result."""


def check(name: str, flat: dict[str, object]) -> None:
    """Raise ChoiceError if `name` is no objective, or none of a run with these flattened choices."""
    if name not in OBJECTIVES:
        raise unknown("--objective", name, OBJECTIVES)
    key, value = NEEDS.get(name, ("", ""))
    if key and flat[key] != value:
        raise ChoiceError(f"--objective {name}: needs {key}={value}")


def score(run: Run, name: str) -> float | None:
    """Return the objective of a run; None without a finite one, as for a run that is not finished.

    A run that diverged or overflowed has the error of a guess, and the loss of a guess, ln(classes). What is no error or loss is
    None for a run that diverged.
    """
    try:
        if not run.finished():
            return None
        state, results = run.state, results_at_end(run, run.state)
        value = float((run.status | results).get(name, math.nan))
    except (RecordError, OSError):
        return None
    guess, diverged = results["train_error"], state == states.DIVERGED
    if diverged and not name.endswith(("_error", "_loss")):
        return None  # it ended early, so the least seconds would win
    if name == "train_loss" and (diverged or not math.isfinite(value)):
        value = -math.log1p(-guess / 100)
    elif name == "batch_error" and diverged:
        value = guess
    return value if math.isfinite(value) else None
