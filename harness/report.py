"""Rebuild the tables, figures and report of a sweep from its run folders alone.

    python -m harness.report SWEEP_FOLDER [--keep NAME]
    python -m harness.report --index [RESULTS_FOLDER]

--keep NAME also keeps the sweep as evidence: results/findings/DATE-NAME, with the tables of its runs inside; a folder of
that name in which there is only a README.md, written before the runs, is filled.
--index builds one page over all sweeps and findings of a results folder (results): index.html.
Exit code 0, 1 if a run of the sweep failed or is not done, 2 if the folder is no sweep that can be read, or if the report
cannot be written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from harness.analysis.tables import Tables
from harness.records.reader import RecordError
from harness.reporting import index
from harness.reporting.build import conclude, keep, print_runs, refuse
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    console.begin()
    parser = argparse.ArgumentParser(
        prog="python -m harness.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--index", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.index:
        return _index(_real(asked.folder or Path("results")))
    if asked.folder is None:
        parser.error("which sweep? its folder lies in results/sweeps/")
    folder = _real(asked.folder)
    if asked.keep is None:
        return conclude(folder, unwritten=2)
    try:
        finding = keep(folder, asked.keep)
        return print_runs(Tables(finding), finding)
    except (RecordError, OSError, ValueError) as error:
        return refuse(error)


def _index(results: Path) -> int:
    try:
        print(f"index: {index.build(results)}")
    except OSError as error:
        return refuse(error)
    return 0


def _real(path: Path) -> Path:
    """Return a path without links; a loop of links is left to whoever opens it."""
    return Path(os.path.realpath(path))


if __name__ == "__main__":
    console.run("harness.report", main)
