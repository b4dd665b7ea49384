"""Train recorded runs again, elsewhere, and compare.

    python -m harness.verify FOLDER [--runs N] [--root DATA]

FOLDER is a sweep, a finding or a single run. With --runs N only N runs are trained again, spread over the sweep; --root
names the folder of the data where they need one. With the torch, threads, device and processor of the record the check is
exact: every number of every table, and the weights where they are kept, to the bit. Otherwise errors are compared within
a tolerance. What was found is written to FOLDER/verification.json, and stands in the report's section on reproducibility.
Exit code 0, 1 (one differs), 2 (one cannot be checked, and why).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.tables import Tables
from harness.config.run import NUMERICS, GradientNorms, RunConfig
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.system import console
from harness.system.cores import threads_here

TOLERANCE = 2.0
"""Percentage points between final errors in a check that is not exact: residual nets of two seeds differ by as much."""
LOOSE = 0.05
"""Relative difference of the first loss in a check that is not exact: same weights and images, other rounding."""


class Unverifiable(Exception):
    """A run that cannot be checked here; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    console.begin()
    parser = argparse.ArgumentParser(
        prog="python -m harness.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, metavar="N")
    parser.add_argument("--root", metavar="DATA")
    asked = parser.parse_args(arguments)
    if asked.runs is not None and asked.runs < 1:
        print(f"harness.verify: --runs {asked.runs}: must be at least 1", file=sys.stderr)
        return 2
    folder = Path(os.path.realpath(asked.folder))
    try:
        before = _kept(folder)
        outcomes = [_outcome(run, asked.root) for run in sample(_runs(folder), asked.runs)]
    except (RecordError, OSError) as error:
        print(f"harness.verify: cannot be checked: {reader.words(error)}", file=sys.stderr)
        return 2
    for outcome in outcomes:
        print(f"{outcome['run']}: {outcome['kind']} check: {outcome['found']}")
    try:
        _keep(folder, before, outcomes)
    except (RecordError, OSError) as error:
        print(f"harness.verify: what was found cannot be written: {reader.words(error)}", file=sys.stderr)
        return 2
    if any(outcome["same"] is False for outcome in outcomes):
        return 1
    return 2 if any(outcome["same"] is None for outcome in outcomes) else 0


def _outcome(run: Run, root: str | None) -> dict[str, Any]:
    """Return what the check of one run found, or why there was none."""
    from harness.training.train import RunFailed

    try:
        return verify(run, root)
    except (RecordError, ValueError, OSError, Unverifiable, RunFailed) as error:  # a ChoiceError is a ValueError
        return {"run": run.name, "kind": "no", "same": None, "found": f"cannot be checked: {reader.words(error)}"}


def _kept(folder: Path) -> list[dict[str, Any]]:
    """Return what was found before of runs of this folder; raises RecordError where that cannot be read."""
    path = folder / paths.VERIFICATION
    found: list[dict[str, Any]] = reader.read_json(path)["runs"] if os.path.lexists(path) else []
    return found


def _keep(folder: Path, before: Sequence[dict[str, Any]], outcomes: Sequence[dict[str, Any]]) -> None:
    """Write the outcomes beside those of other runs of the folder, and build a sweep's report anew."""
    new = {outcome["run"] for outcome in outcomes}
    writer.write_json(folder / paths.VERIFICATION, {"runs": [*(one for one in before if one["run"] not in new), *outcomes]})
    if (folder / paths.SWEEP).is_file():
        from harness.reporting.build import build

        build(folder)


def _runs(folder: Path) -> list[Run]:
    """Return the run of a run's folder, or those of a sweep, damaged ones too."""
    if os.path.lexists(folder / paths.CONFIG):
        return [Run(folder)]
    return [Run(paths.runs_of(folder) / name) for name in Tables(folder).about["runs"]]


def sample(runs: Sequence[Run], count: int | None) -> list[Run]:
    """Return `count` runs spread evenly over the sweep, or all."""
    if count is None or count >= len(runs):
        return list(runs)
    return [runs[place * len(runs) // count] for place in range(count)]


def verify(run: Run, root: str | None) -> dict[str, Any]:
    """Train the recorded run again in a folder of its own and return what the comparison found.

    Raises Unverifiable where the record is of no finished run or of other numerics, RecordError where it is damaged, and
    ChoiceError where device or data are missing.
    """
    run.check(but=paths.PRIVATE)
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
    if run.status.get("resumed_elsewhere"):
        differs.append("one machine throughout")
    with tempfile.TemporaryDirectory() as elsewhere:
        again = train(config, elsewhere)
        difference = exact_difference(run, again) if not differs else loose_difference(run, again)
    kind = "exact" if not differs else f"tolerant ({', '.join(differs)} not those of the record; {TOLERANCE} points)"
    kept = (run.folder / paths.WEIGHTS).is_file() or run.state == states.DIVERGED
    same = "the same" if kept else "the same (the weights were not kept)"
    return {"run": run.name, "kind": kind, "same": difference is None, "found": difference or same}


def differences(recorded: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return which of the things that decide the bits are not as recorded: torch, threads, device, processor."""
    pairs = {
        "torch": (recorded["packages"]["torch"], here["packages"]["torch"]),
        "torch's build": (recorded["torch"], here["torch"]),
        "threads": (recorded["threads"], here["threads"]),
        "the GPU": (recorded["gpu"], here["gpu"]),
        "the processor": (recorded["cpu"], here["cpu"]),
    }
    return [name for name, (before, now) in pairs.items() if before != now]


def exact_difference(run: Run, again: Run) -> str | None:
    """Return the first step and place at which two records differ in a bit, None if they do not."""
    if run.state != again.state:
        return f"the recorded run is {run.state}, this one {again.state}"
    found = []
    every = ["gradient_norms"] if run.config["gradient_norms"] == GradientNorms.every else []
    for name in (*reversed(run.config["probes"]), *every, "steps", "epochs"):
        before, now = (reader.read_table(one.folder / paths.table(name)) for one in (run, again))
        if difference := table_difference(before.drop(columns="seconds", errors="ignore"), now):
            found.append((difference[0], f"{paths.table(name)} differs {difference[1]}"))
    if found:
        return min(found, key=lambda pair: pair[0])[1]  # of equal steps the first, so the layer before the loss
    return _weights_difference(run.folder / paths.WEIGHTS, again.folder / paths.WEIGHTS)


def table_difference(before: pd.DataFrame, now: pd.DataFrame) -> tuple[float, str] | None:
    """Return the step at which two tables differ first, and where, with both values; None if they do not."""
    now = now[[name for name in before.columns if name in now.columns]]
    if list(before.columns) != list(now.columns):
        return -1, f"in its columns: {', '.join(sorted(set(before.columns) ^ set(now.columns)))}"
    rows = min(len(before), len(now))
    unequal = (before.iloc[:rows] != now.iloc[:rows]) & ~(before.iloc[:rows].isna() & now.iloc[:rows].isna())
    if unequal.to_numpy().any():
        row = int(unequal.any(axis=1).to_numpy().argmax())
        column = str(unequal.columns[int(unequal.iloc[row].to_numpy().argmax())])
        word, step = ("step", before["step"].iloc[row]) if "step" in before else ("row", row)
        place = f"at {word} {step}" + (f", {before['name'].iloc[row]}" if "name" in before else "")
        return step, f"{place}, {column}: {before[column].iloc[row]!r} recorded, {now[column].iloc[row]!r} now"
    length = f"in its length: {len(before)} rows recorded, {len(now)} now"
    return None if len(before) == len(now) else (float("inf"), length)


def _weights_difference(before: Path, now: Path) -> str | None:
    if not before.is_file() or not now.is_file():
        return None
    import torch
    from safetensors.torch import load

    def weights(path: Path) -> dict[str, torch.Tensor]:
        with reader.parsing(path):
            found: dict[str, torch.Tensor] = load(reader.read_bytes(path, reader.STATE))
            return found

    recorded, found = weights(before), weights(now)
    for name, tensor in recorded.items():
        if name not in found or not torch.equal(tensor, found[name]):
            return f"the final weights differ, first in {name}"
    return None


def loose_difference(run: Run, again: Run) -> str | None:
    """Return what differs beyond the stated tolerances, None if nothing does."""
    if run.state != again.state:
        return f"the recorded run is {run.state}, this one {again.state}"
    first = [one.steps["loss"].iloc[0] for one in (run, again)]
    if abs(first[0] - first[1]) > LOOSE * abs(first[0]):
        return f"the first loss is {first[0]:.6g} recorded, {first[1]:.6g} now"
    for name in ("train_error", "test_error"):
        before, now = getattr(run, name), getattr(again, name)
        if abs(before - now) > TOLERANCE:
            return f"{name} is {before:.2f} recorded, {now:.2f} now"
    return None


if __name__ == "__main__":
    console.run("harness.verify", main)
