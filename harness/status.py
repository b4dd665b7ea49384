"""Print the progress of a sweep, read from its files alone, from any shell at any time.

    python -m harness.status [SWEEP_FOLDER]

Without a folder: the latest sweep below results/sweeps. Exit code 0, or 2 if there is no such sweep.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.records import paths, progress, reader
from harness.records.reader import RecordError
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.status", __doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    folder = parser.parse_args(arguments).folder
    try:
        folder = folder or _latest(Path("results"))
        if folder is None:
            raise RecordError("no sweep below results/sweeps: name a sweep's folder")
        lines = progress.table(progress.read_progress(Path(os.path.realpath(folder))))
    except (RecordError, OSError) as error:
        return console.refuse("harness.status", reader.describe_error(error))
    print(folder)
    print("\n".join(lines))
    return 0


def _latest(results: Path) -> Path | None:
    sweeps = (results / paths.SWEEPS).glob(f"*/{paths.SWEEP}")
    latest = max(sweeps, key=lambda path: path.stat().st_mtime, default=None)
    return latest.parent if latest else None


if __name__ == "__main__":
    console.run("harness.status", main)
