"""A process that trains runs: one job a line on its standard input, the state of the run a line on its output.

    python -m harness.worker        (started by harness.trainer)

It ends with its input. If that ends while a run is being trained, the process that wanted the run is gone: the run's state
is saved, and it is left.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import layout, locks, records
from harness.config import RunConfig
from harness.records import Run

log = logging.getLogger("harness")


def carry_out_job(job: dict[str, Any]) -> str | None:
    """Train the run of a job into its folder; return its state, None if another process is training it."""
    from harness.carry_out import carry_out

    if not job["quiet"]:
        log_to_stderr()
    config = RunConfig.from_mapping(job["choices"]).at(**job["places"])
    results = Path(job["results"])
    with locks.held(layout.lock(results, job["run"])) as mine:
        if not mine:
            return None
        try:
            run = records.create(config, results)
            if not run.finished():
                carry_out(config, run, job["command"])
        except Exception as error:  # what carry_out could not record itself
            log.exception("%s: failed", job["run"])
            run = Run(layout.run_folder(results, job["run"]))
            with suppress(OSError):
                records.write_status(run, records.FAILED, error=f"{type(error).__name__}: {error}")
            return records.FAILED
        return run.state


def log_to_stderr() -> None:
    """Show the harness's log lines on stderr, once."""
    if not any(type(handler) is logging.StreamHandler for handler in log.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def main() -> int:
    """Train what standard input asks for until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process says when to stop
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plugin prints must not be taken for an answer
    jobs: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while (line := jobs.get()) is not None:
        print(json.dumps(carry_out_job(json.loads(line))), file=answers, flush=True)
    return 0


def _read(jobs: queue.Queue[str | None]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    jobs.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
