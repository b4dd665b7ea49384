"""Train recorded runs again in a temporary folder, and compare.

    python -m harness.verify FOLDER [--runs N] [--root DATA]

FOLDER is a sweep, a finding or a single run. With --runs N only N runs are trained again, spread over the sweep; --root
names the folder of the data if they need one. With the recorded torch, threads, device and processor the check is exact: every
number of every table, and the weights if they were kept, must be bit-identical. Otherwise errors are compared within a
tolerance. The outcome is written to FOLDER/verification.json and to the report's section on reproducibility.
Exit code 0, 1 if a run differs, 2 if a run cannot be checked; the output says why.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config.run import NUMERICS, GradientNorms, RunConfig
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, find_runs
from harness.system import console
from harness.system.cores import threads_here

TOLERANCE = 2.0
"""Maximum difference between final errors in a tolerant check, in percentage points: that between two seeds of a residual net."""
LOOSE = 0.05
"""Maximum relative difference between the first losses in a tolerant check: only rounding differs."""


class Unverifiable(Exception):
    """A run that cannot be checked here; the message gives the reason."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.verify", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, metavar="N")
    parser.add_argument("--root", metavar="DATA")
    options = parser.parse_args(arguments)
    if options.runs is not None and options.runs < 1:
        return console.refuse("harness.verify", f"--runs {options.runs}: must be at least 1")
    folder = Path(os.path.realpath(options.folder))
    record = folder / paths.VERIFICATION
    try:
        earlier = reader.read_json(record)["runs"] if os.path.lexists(record) else []
        outcomes = [_outcome(run, options.root) for run in sample(find_runs(folder), options.runs)]
    except (RecordError, OSError) as error:
        return console.refuse("harness.verify", f"cannot be checked: {reader.describe_error(error)}")
    for outcome in outcomes:
        print(f"{outcome['run']}: {outcome['kind']} check: {outcome['found']}")
    checked = {outcome["run"] for outcome in outcomes}
    try:
        writer.write_json(record, {"runs": [*(outcome for outcome in earlier if outcome["run"] not in checked), *outcomes]})
        if (folder / paths.SWEEP).is_file():
            from harness.reporting.build import build

            build(folder)
    except (RecordError, OSError) as error:
        return console.refuse("harness.verify", f"the outcome cannot be written: {reader.describe_error(error)}")
    if any(outcome["same"] is False for outcome in outcomes):
        return 1
    return 2 if any(outcome["same"] is None for outcome in outcomes) else 0


def _outcome(run: Run, root: str | None) -> dict[str, Any]:
    """Return the outcome of the check of one run, or the reason why it cannot be checked."""
    from harness.training.train import RunFailed

    try:
        return verify(run, root)
    except (RecordError, ValueError, OSError, Unverifiable, RunFailed) as error:  # a ChoiceError is a ValueError
        return {"run": run.name, "kind": "no", "same": None, "found": f"cannot be checked: {reader.describe_error(error)}"}


def sample(runs: Sequence[Run], count: int | None) -> list[Run]:
    """Return `count` runs spread evenly over the sweep, or all."""
    if count is None or count >= len(runs):
        return list(runs)
    return [runs[index * len(runs) // count] for index in range(count)]


def verify(run: Run, root: str | None) -> dict[str, Any]:
    """Train the recorded run again in a temporary folder and return the outcome of the comparison.

    Raises:
        Unverifiable: if the run is not finished or was recorded with other numerics.
        RecordError: if the record is damaged.
        ChoiceError: if the device or the data are missing.
    """
    run.check(optional=paths.PRIVATE)
    if not run.finished():
        raise Unverifiable(f"{run.name} is not finished ({run.state})")
    from harness.training.environment import describe_machine
    from harness.training.train import train

    config = RunConfig.from_mapping(run.config)
    config = replace(config, execution=replace(config.execution, data_root=root))
    if config.run_name() != run.name.partition(".")[0]:
        raise Unverifiable(
            f"{run.name} was recorded with other numerics or other defaults: here its choices make {config.run_name()} "
            f"(NUMERICS {NUMERICS})"
        )
    differs = differences(run.environment, describe_machine(config.torch_device, threads_here(config.threads)))
    reasons = [f"different from the record: {', '.join(differs)}"] if differs else []
    if run.status.get("resumed_elsewhere"):
        reasons.append("resumed on another machine")
    with tempfile.TemporaryDirectory() as folder:
        again = train(config, folder)
        if run.state != again.state:
            difference: str | None = f"the recorded run is {run.state}, the new one {again.state}"
        else:
            difference = loose_difference(run, again) if reasons else exact_difference(run, again)
    kind = f"tolerant ({'; '.join(reasons)}; within {TOLERANCE} points)" if reasons else "exact"
    kept = (run.folder / paths.WEIGHTS).is_file() or run.state == states.DIVERGED
    same = "the same" if kept else "the same (the weights were not kept)"
    return {"run": run.name, "kind": kind, "same": difference is None, "found": difference or same}


def differences(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return what differs from the recorded environment and can change bits: torch, threads, device, processor."""
    pairs = {
        "torch": (recorded["packages"]["torch"], here["packages"]["torch"]),
        "torch's build": (recorded["torch"], here["torch"]),
        "threads": (recorded["threads"], here["threads"]),
        "the GPU": (recorded["gpu"], here["gpu"]),
        "the processor": (recorded["cpu"], here["cpu"]),
    }
    return [name for name, (before, now) in pairs.items() if before != now]


def exact_difference(run: Run, again: Run) -> str | None:
    """Return the first step and table in which two records with equal states differ, None if they are bit-identical."""
    by_step: list[tuple[float, str]] = []
    every = ["gradient_norms"] if run.config["gradient_norms"] == GradientNorms.every else []
    for name in (*reversed(run.config["probes"]), *every, "steps", "epochs"):
        before, now = (reader.read_table(record.folder / paths.table(name)) for record in (run, again))
        if difference := table_difference(before.drop(columns="seconds", errors="ignore"), now):
            by_step.append((difference[0], f"{paths.table(name)} differs {difference[1]}"))
    if by_step:
        return min(by_step, key=lambda pair: pair[0])[1]  # at equal steps the first table: a layer before the loss
    return _weights_difference(run.folder / paths.WEIGHTS, again.folder / paths.WEIGHTS)


def table_difference(before: pd.DataFrame, now: pd.DataFrame) -> tuple[float, str] | None:
    """Return the first step at which two tables differ, and a description with both values; None if they are equal."""
    now = now[[name for name in before.columns if name in now.columns]]
    if list(before.columns) != list(now.columns):
        return -1, f"in its columns: {', '.join(sorted(set(before.columns) ^ set(now.columns)))}"
    rows = min(len(before), len(now))
    unequal = before.head(rows).compare(now.head(rows))  # only rows and columns with a difference; equal values are NaN
    if not unequal.empty:
        row = unequal.index[0]
        column = unequal.loc[row].dropna().index[0][0]
        word, step = ("step", before["step"][row]) if "step" in before else ("row", row)
        place = f"at {word} {step}" + (f", {before['name'][row]}" if "name" in before else "")
        return step, f"{place}, {column}: {before[column][row]!r} recorded, {now[column][row]!r} now"
    if len(before) != len(now):
        return float("inf"), f"in its length: {len(before)} rows recorded, {len(now)} now"
    return None


def _weights_difference(before: Path, now: Path) -> str | None:
    if not before.is_file() or not now.is_file():
        return None
    import torch
    from safetensors.torch import load

    with reader.parsing(before):
        recorded, trained = (load(reader.read_bytes(path, reader.MAX_CHECKPOINT)) for path in (before, now))
    for name, tensor in recorded.items():
        if name not in trained or not torch.equal(tensor, trained[name]):
            return f"the final weights differ, first in {name}"
    return None


def loose_difference(run: Run, again: Run) -> str | None:
    """Return the first difference beyond the tolerances between two records with equal states, None if there is none."""
    first = [record.steps["loss"].iloc[0] for record in (run, again)]
    if abs(first[0] - first[1]) > LOOSE * abs(first[0]):
        return f"the first loss is {first[0]:.6g} recorded, {first[1]:.6g} now"
    for name in ("train_error", "test_error"):
        before, now = getattr(run, name), getattr(again, name)
        if abs(before - now) > TOLERANCE:
            return f"{name} is {before:.2f} recorded, {now:.2f} now"
    return None


if __name__ == "__main__":
    console.run("harness.verify", main)
