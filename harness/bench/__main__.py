"""Measure how fast a training step is, relative to this machine's rates and to a plain loop.

    python -m harness.bench [--device cpu|cuda] [--quick] [--json FILE] [--keep NAME]
    python -m harness.bench --from FILE [--keep NAME]

It takes about 12 minutes on two cores, with --quick (fewer rounds, only 20 and 56 layers) about two. Run nothing else
meanwhile. --json writes the result, --from shows such a file again. --keep NAME keeps it as a finding: bench.json and report.md
in results/findings/DATE-NAME. Exit code 0, whether targets are met or not, 2 if the command cannot be run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.bench import report, results
from harness.records import writer
from harness.records.reader import RecordError, describe_error
from harness.system import console
from harness.system.cores import available_cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = console.parser("harness.bench", __doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="earlier")
    parser.add_argument("--keep", metavar="NAME")
    options = parser.parse_args(arguments)
    try:
        if options.earlier:
            result = results.read(options.earlier)
        else:
            from harness.bench.measure import FULL, QUICK, measure

            console.begin()
            command = f"python -m harness.bench --device {options.device}" + (" --quick" if options.quick else "")
            progress = partial(print, file=sys.stderr, flush=True)
            result = measure(options.device, available_cores(), QUICK if options.quick else FULL, command, progress)
        if options.json:
            writer.write_json(options.json, result)
        print(report.terminal(result))
        if options.keep is not None:
            print(f"finding: {results.keep(result, options.keep, Path('results'))}")
    except (RecordError, OSError, ValueError) as error:
        return console.refuse("harness.bench", describe_error(error))
    return 0


if __name__ == "__main__":
    console.run("harness.bench", main)
