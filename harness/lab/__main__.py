"""Build the lab: the residual block worked by hand, errors measured, questions answered from small runs of its own.

    python -m harness.lab [--language en|zh-TW|both] [--results FOLDER]

Writes RESULTS/lab/index.html (English) and RESULTS/lab/index.zh-TW.html (Traditional Chinese), one file each that asks for
nothing from elsewhere, and prints their paths. The runs lie in RESULTS/runs and are reused when done. Exit code 0, 1 if a run
failed, 2 if the command cannot be run, 130 if it was stopped (everything is saved, the same command goes on).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from harness.lab.texts import LANGUAGES
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", choices=[*LANGUAGES, "both"], default="both")
    parser.add_argument("--results", default="results", metavar="FOLDER")
    asked = parser.parse_args(arguments)
    from harness.config.registry import ChoiceError
    from harness.lab import build, runs
    from harness.launching.sweep import writable
    from harness.records.reader import RecordError
    from harness.system import logs

    console.begin()
    logs.log_to_stderr()
    languages = list(LANGUAGES) if asked.language == "both" else [asked.language]
    try:
        results = writable(asked.results)
        records = runs.carry_out(planned := runs.plan(), results)
        for path in build.write(results, planned, records, languages):
            print(f"lab: {path}")
    except ChoiceError as error:
        print(f"harness.lab: {error}", file=sys.stderr)
        return 2
    except (runs.RunsFailed, RecordError, OSError) as error:
        print(f"harness.lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; with what was saved, the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    console.run("harness.lab", main)
