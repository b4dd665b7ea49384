"""Build the lab: the residual block worked by hand, common errors measured, questions answered from small runs.

    python -m harness.lab [--language en|zh-TW|both] [--results FOLDER]

Writes RESULTS/lab/index.html (English) and RESULTS/lab/index.zh-TW.html (Traditional Chinese), each one self-contained file,
and prints their paths. The runs are in RESULTS/runs; finished ones are reused. Exit code 0, 1 if a run failed, 2 if the
command cannot be run, 130 if it was stopped (everything is saved; run the same command again to resume).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from harness.lab.texts import LANGUAGES
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", choices=[*LANGUAGES, "both"], default="both")
    parser.add_argument("--results", default="results", metavar="FOLDER")
    options = parser.parse_args(arguments)
    from harness.config.registry import ChoiceError
    from harness.lab import build, runs
    from harness.planning.sweep import create_results_folder
    from harness.records.reader import RecordError
    from harness.system import logs

    console.begin()
    logs.log_to_stderr()
    languages = list(LANGUAGES) if options.language == "both" else [options.language]
    try:
        results = create_results_folder(options.results)
        records = runs.train(planned := runs.plan(), results)
        for path in build.write(results, planned, records, languages):
            print(f"lab: {path}")
    except ChoiceError as error:
        print(f"harness.lab: {error}", file=sys.stderr)
        return 2
    except (runs.RunsFailed, RecordError, OSError) as error:
        print(f"harness.lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything is saved; run the same command again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    console.run("harness.lab", main)
