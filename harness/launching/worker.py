"""Train runs: read a list of jobs per line of standard input, write the final states of their runs as a line of output.

    python -m harness.launching.worker        (started by harness.launching.supervisor)

The process exits when its input ends. If that happens during a training, the parent is gone: the run is saved and left
interrupted; if that takes too long, the process is killed (`harness.launching.parent_watch`). The process also exits, without an
answer, after an unrecoverable CUDA error.
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
from harness.launching.parent_watch import kill_after_input_ends
from harness.records import paths, states
from harness.records.run import Run, create
from harness.system import locks
from harness.system.logs import log_to_stderr
from harness.system.signals import Stop, stop_on_signals

log = logging.getLogger("harness")


def run_jobs(jobs: Sequence[dict[str, Any]]) -> list[str | None]:
    """Train the runs of these jobs interleaved; return their states, None for a run that another process is training."""
    from harness.training.interleaving import interleave

    if not all(job["quiet"] for job in jobs):
        log_to_stderr()
    with stop_on_signals() as stop:
        return interleave([_run_job(job, stop, len(jobs)) for job in jobs])


def _run_job(job: dict[str, Any], stop: Stop, runs_per_process: int) -> Generator[None, None, str | None]:
    from harness.training.train import record_error, train_interleaved

    results = Path(job["results"])
    try:
        with locks.try_lock(paths.lock(results, job["run"])) as locked:
            if not locked:
                return None
            config = _config(job)
            run = create(config, results)
            if run.finished():
                return run.state
            return (yield from train_interleaved(config, run, job["command"], stop, runs_per_process))
    except BaseException as error:  # an error outside the training, which records its own
        return record_error(error, Run(paths.run_folder(results, job["run"])), {}, stop)


def main() -> int:
    """Train the jobs on standard input until it ends; return the exit code."""
    kill_after_input_ends()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    requests, answers = os.fdopen(os.dup(0)), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a plugin must not read the jobs,
    os.dup2(2, 1)  # and its output must not be taken for an answer
    jobs: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(requests, jobs), daemon=True).start()
    while (line := jobs.get()) is not None:
        batch = json.loads(line)
        ended = run_jobs(batch)
        if states.FAILED in ended and not _device_is_alive(batch[0]):
            return 1  # without an answer: the parent then trains each run in a process of its own
        with suppress(BrokenPipeError):  # the parent is gone
            os.write(answers, json.dumps(ended).encode() + b"\n")
    return 0


def _config(job: dict[str, Any]) -> RunConfig:
    return replace(RunConfig.from_mapping(job["choices"]), execution=ExecutionConfig(**job["execution"]))


def _device_is_alive(job: dict[str, Any]) -> bool:
    import torch

    from harness.training import devices

    return devices.is_alive(torch.device(_config(job).torch_device))


def _read(requests: TextIO, jobs: queue.Queue[str | None]) -> None:
    """Queue every line, and None at the end of the input, with SIGTERM for a training that is under way."""
    for line in requests:
        jobs.put(line)
    jobs.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
