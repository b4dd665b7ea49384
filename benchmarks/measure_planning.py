"""Measure how long a sweep takes to plan and to prepare before its first run starts.

    python -m benchmarks.measure_planning [RUNS]

RUNS (default 10,000) are seeds of a small net on digits. Prints milliseconds a run: planning (from overrides to configs),
creating the runs' folders, and checking folders that exist.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.launching.launch import prepare
from harness.planning import sweep


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as results:
        keys = ["depth=8", "width=4", "schedule.steps=2", f"results={results}"]
        sweep.plan(keys, False, [])  # imports torch
        planned = timed("planning", runs, lambda: sweep.plan([f"seed=range({runs})", *keys], True, []))
        timed("folders, new", runs, lambda: prepare(planned))
        timed("folders, old", runs, lambda: prepare(planned))


def timed(name: str, runs: int, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = work()
    print(f"{name:13} {1000 * (time.perf_counter() - started) / runs:8.3f} ms a run")
    return result


if __name__ == "__main__":
    main()
