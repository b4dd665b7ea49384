"""Rebuild the tables, figures and report of a sweep from its run folders alone.

    python -m harness.report SWEEP_FOLDER [--keep NAME]
    python -m harness.report --index [RESULTS_FOLDER]

--keep NAME also keeps the sweep as evidence in results/findings/DATE-NAME, with the tables of its runs; a folder of that name
may exist if it holds only a README.md, written before the runs.
--index builds index.html, one page about all sweeps and findings of a results folder (default: results).
Exit code 0, 1 if a run of the sweep failed or is not done, 2 if the folder is not a readable sweep or the report cannot be
written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.analysis.tables import Tables
from harness.records.reader import RecordError
from harness.reporting import index
from harness.reporting.build import conclude, keep, print_runs, refuse
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.report", __doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--index", action="store_true")
    options = parser.parse_args(arguments)
    if options.folder is None and not options.index:
        parser.error("which sweep? its folder lies in results/sweeps/")
    folder = Path(os.path.realpath(options.folder or "results"))  # unlike Path.resolve, accepts a loop of links
    if options.keep is None and not options.index:
        return conclude(folder, unwritten=2)
    try:
        if options.index:
            print(f"index: {index.build(folder)}")
            return 0
        finding = keep(folder, options.keep)
        return print_runs(Tables(finding), finding)
    except (RecordError, OSError, ValueError) as error:
        return refuse(error)


if __name__ == "__main__":
    console.run("harness.report", main)
