"""Measure how fast a training step is, beside what this machine can do and beside a plain loop.

    python -m harness.bench [--device cpu|cuda] [--quick] [--json FILE] [--keep NAME]
    python -m harness.bench --from FILE [--keep NAME]

It takes about 12 minutes on two cores, --quick about two: few rounds, 20 and 56 layers alone. Leave the machine alone
meanwhile. --json writes what was measured, --from shows such a file again. --keep NAME keeps it as a finding:
results/findings/DATE-NAME with bench.json and report.md. Exit code 0, whether targets are met or not, 2 if it cannot be done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.bench import report, results
from harness.records import writer
from harness.records.reader import RecordError
from harness.system import console
from harness.system.cores import available_cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="earlier")
    parser.add_argument("--keep", metavar="NAME")
    asked = parser.parse_args(arguments)
    try:
        if asked.earlier:
            result = results.read(asked.earlier)
        else:
            from harness.bench.measure import FULL, QUICK, measure

            console.begin()
            command = f"python -m harness.bench --device {asked.device}" + (" --quick" if asked.quick else "")
            result = measure(asked.device, available_cores(), QUICK if asked.quick else FULL, command, _say)
        if asked.json:
            writer.write_json(asked.json, result)
        print(report.terminal(result))
        if asked.keep is not None:
            print(f"finding: {results.keep(result, asked.keep, Path('results'))}")
    except (RecordError, OSError, ValueError) as error:
        print(f"harness.bench: {error}", file=sys.stderr)
        return 2
    return 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    console.run("harness.bench", main)
