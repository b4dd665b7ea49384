"""A process that trains runs: a list of jobs a line on its standard input, the states of their runs a line on its output.

    python -m harness.launching.worker        (started by harness.launching.supervisor)

It ends with its input. If that ends while a run is being trained, the process that wanted the run is gone: the run's state
is saved, and it is left; where that takes too long, this process is killed (`harness.launching.parent_watch`). It also ends,
without an answer, where a run failed and left a GPU that does nothing any more for this process.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from harness.config.execution import ExecutionConfig
from harness.config.run import RunConfig
from harness.launching.parent_watch import end_with_input
from harness.records import paths, states
from harness.records.run import Run, create
from harness.system import locks
from harness.system.logs import log_to_stderr
from harness.system.signals import Stop, stop_on_signals

log = logging.getLogger("harness")


def run_jobs(jobs: Sequence[dict[str, Any]]) -> list[str | None]:
    """Train the runs of these jobs, together, into their folders; return their states, None where another process trains it."""
    from harness.training.interleaving import together

    if not all(job["quiet"] for job in jobs):
        log_to_stderr()
    with stop_on_signals() as stop:
        return together([_run_job(job, stop, len(jobs)) for job in jobs])


def _run_job(job: dict[str, Any], stop: Stop, gang: int) -> Generator[None, None, str | None]:
    from harness.training.train import record_error, train_interleaved

    results = Path(job["results"])
    try:
        with locks.try_lock(paths.lock(results, job["run"])) as mine:
            if not mine:
                return None
            config = _config(job)
            run = create(config, results)
            if run.finished():
                return run.state
            return (yield from train_interleaved(config, run, job["command"], stop, gang))
    except BaseException as error:  # what a training could not record itself
        return record_error(error, Run(paths.run_folder(results, job["run"])), {}, stop)


def main() -> int:
    """Train what standard input asks for until it ends."""
    end_with_input()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process says when to stop
    asked_for, answers = os.fdopen(os.dup(0)), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a plugin must not read the jobs,
    os.dup2(2, 1)  # and what it prints must not be taken for an answer
    jobs: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(asked_for, jobs), daemon=True).start()
    while (line := jobs.get()) is not None:
        asked = json.loads(line)
        ended = run_jobs(asked)
        if states.FAILED in ended and not _device_works(asked[0]):
            return 1  # without an answer: whoever asked has the runs begun anew, each in a process of its own
        with suppress(BrokenPipeError):  # whoever asked is gone
            os.write(answers, json.dumps(ended).encode() + b"\n")
    return 0


def _config(job: dict[str, Any]) -> RunConfig:
    return replace(RunConfig.from_mapping(job["choices"]), execution=ExecutionConfig(**job["execution"]))


def _device_works(job: dict[str, Any]) -> bool:
    import torch

    from harness.training import devices

    return devices.is_alive(torch.device(_config(job).torch_device))


def _read(asked_for: TextIO, jobs: queue.Queue[str | None]) -> None:
    for line in asked_for:
        jobs.put(line)
    jobs.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
