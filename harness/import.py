"""Aggregate the runs of another trainer over their seeds: figures with 95 % intervals, as of the harness's own runs.

    python -m harness.import FOLDER [--group KEY ...] [--seed KEY] [--metric NAME ...] [--out PATH]

FOLDER holds a folder, or a file, for each run: CSV files with a column `step` or `epoch`, event files of TensorBoard, or an
offline run of Weights & Biases. A run's choices are those that its format records, those of a config.json, hparams.yaml or
params.json beside it, and those in its name, as in `lr=0.1,seed=3`. Runs with equal values of the keys of --group are one group;
by default, of all keys that vary except the seed's, which is `seed`. The page, its figures and aggregated.csv are written to
PATH, results/imports/NAME by default. Exit code 0, 1 if a run could not be read, 2 if the command cannot be run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.config.registry import ChoiceError, unknown
from harness.importing import aggregate, foreign, page
from harness.records import paths, reader
from harness.records.reader import RecordError
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.import", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--group", action="extend", nargs="+", default=[], metavar="KEY")
    parser.add_argument("--seed", metavar="KEY")
    parser.add_argument("--metric", action="extend", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--out", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    folder = Path(os.path.realpath(options.folder))
    out = options.out or Path("results", "imports", folder.name)
    try:
        troubles = _import(folder, out, options.group, options.seed, options.metric)
    except (ChoiceError, RecordError, OSError) as error:
        return console.refuse("harness.import", reader.describe_error(error))
    for name, reason in troubles.items():
        console.refuse("harness.import", f"{name} is left out: {reason}")
    print(f"report: {out / paths.REPORT_HTML}")
    return 1 if troubles else 0


def _import(folder: Path, out: Path, keys: Sequence[str], seed: str | None, chosen: Sequence[str]) -> dict[str, str]:
    """Write the page; return the reason for each run that could not be read, by name."""
    runs, troubles = foreign.read_runs(folder)
    if not runs:
        raise RecordError("; ".join(f"{name}: {reason}" for name, reason in troubles.items()))
    known = sorted({key for run in runs for key in run.choices})
    if seed is not None and seed not in known:
        raise unknown("--seed", seed, known)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.metrics))
    if wrong := [name for name in chosen if name not in metrics]:
        raise unknown("--metric", wrong[0], metrics)
    groups = aggregate.group(runs, keys, seed or "seed")
    curves = {
        metric: [curve for name, of_group in groups.items() if (curve := aggregate.curve(name, of_group, metric)).runs]
        for metric in chosen or metrics
    }
    title = f"{len(runs)} run{'s' if len(runs) > 1 else ''} imported from {folder.name}"
    page.write(out, title, groups, seed or "seed", curves, troubles)
    return troubles


if __name__ == "__main__":
    console.run("harness.import", main)
