"""How far the runs of a sweep are, from its files alone, from any shell at any time.

    python -m harness.status [SWEEP_FOLDER]

Without a folder: the sweep below results/sweeps that was asked for last. Exit code 0, or 2 if there is no such sweep.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.records import paths, progress, reader
from harness.records.reader import RecordError
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    console.begin()
    parser = argparse.ArgumentParser(
        prog="python -m harness.status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    asked = parser.parse_args(arguments).folder
    try:
        folder = asked or _newest(Path("results"))
        if folder is None:
            raise RecordError("no sweep below results/sweeps: name a sweep's folder")
        lines = progress.table(progress.places(Path(os.path.realpath(folder))))
    except (RecordError, OSError) as error:
        print(f"harness.status: {reader.words(error)}", file=sys.stderr)
        return 2
    print(folder)
    print("\n".join(lines))
    return 0


def _newest(results: Path) -> Path | None:
    sweeps = (results / paths.SWEEPS).glob(f"*/{paths.SWEEP}")
    newest = max(sweeps, key=lambda path: path.stat().st_mtime, default=None)
    return newest.parent if newest else None


if __name__ == "__main__":
    console.run("harness.status", main)
