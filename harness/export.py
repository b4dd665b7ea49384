"""Export the tables of runs to an experiment tracker, or to Parquet.

    python -m harness.export FOLDER --to tensorboard|mlflow|wandb|trackio|parquet [--out PATH]

FOLDER is a sweep, a finding or a single run. Unfinished runs are exported as far as they have been saved. The export is the
folder PATH, by default RESULTS/exports/NAME/TRACKER; an earlier export of the same folder is replaced.
Exit code 0, 1 if a run is damaged or missing (the others are exported), 2 if nothing can be exported.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.config.flat import flatten
from harness.config.registry import TRACKER, ChoiceError
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, find_runs
from harness.system import console
from harness.tracking import check_installed
from harness.tracking.parquet import write_tables
from harness.tracking.scalars import scalars_on_disk


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.export", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", choices=[*TRACKER.built_in, "parquet"], required=True)
    parser.add_argument("--out", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    folder = Path(os.path.realpath(options.folder))
    out = options.out.absolute() if options.out else folder.parent.parent / paths.EXPORTS / folder.name / options.to
    try:
        check_installed(options.to)
        readable, unreadable = _readable(find_runs(folder))
        if not readable:
            raise RecordError(unreadable[0])
        with _replaced(out, {"folder": folder.name, "to": options.to}) as new:
            _export(readable, options.to, new)
    except (RecordError, ChoiceError, OSError) as error:
        return console.refuse("harness.export", reader.describe_error(error))
    for line in unreadable:
        print(f"not exported: {line}")
    for run, state in readable.items():
        if state not in states.FINISHED:
            print(f"{run.name}: {state}; exported as far as it was saved")
    print(f"{len(readable)} runs: {out}")
    return 1 if unreadable else 0


def _readable(runs: Sequence[Run]) -> tuple[dict[Run, str], list[str]]:
    """Return the readable runs with their states, and the reason for each other run."""
    readable, unreadable = dict[Run, str](), list[str]()
    for run in runs:
        try:
            run.check(optional=paths.PRIVATE)
            run.config  # noqa: B018  # read for what it raises
            if not run.finished():  # without checksums its tables may be damaged
                for name in run.table_names:
                    if (path := run.folder / paths.table(name)).exists():
                        reader.read_table(path)
            readable[run] = run.state_now
        except (RecordError, OSError) as error:
            unreadable.append(reader.describe_error(error))
    return readable, unreadable


@contextmanager
def _replaced(out: Path, about: dict[str, str]) -> Iterator[Path]:
    """Yield a hidden folder that replaces `out` after the block, if `out` is missing, empty, or an earlier export of the same.

    Raises RecordError if it is anything else.
    """
    empty = not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir()))
    earlier = (out / paths.EXPORT).is_file() and reader.read_json(out / paths.EXPORT) == about
    if not (empty or earlier):
        raise RecordError(f"{out}: exists and is no earlier export of the same folder; choose another by --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        hidden.chmod(0o755)
        yield hidden
        writer.write_json(hidden / paths.EXPORT, about)
        if out.is_dir():
            shutil.rmtree(out)
        hidden.rename(out)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _export(runs: dict[Run, str], to: str, folder: Path) -> None:
    if to == "parquet":
        write_tables(folder, list(runs), list(runs.values()))
        return
    for run, state in runs.items():
        rows = list(scalars_on_disk(run))
        try:
            tracker = TRACKER[to](folder, run.name, flatten(run.config))
            tracker.write(rows)
            tracker.close(state)
        except Exception as error:  # a tracker may raise any exception
            raise RecordError(f"{run.name}: {to} failed: {type(error).__name__}: {error}") from error


if __name__ == "__main__":
    console.run("harness.export", main)
