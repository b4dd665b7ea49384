"""Train runs in a child process (`harness.launching.worker`), so that a training that is killed takes nothing else with it."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.launching.parent_watch import GRACE
from harness.records import paths, states
from harness.records.reader import RecordError
from harness.records.run import Run, write_status
from harness.system import locks

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two checks whether to stop."""
STOP_SECONDS = 120.0
"""Seconds a child may take to save and exit when asked to: the default of `checkpoint_minutes`, so no more than that is lost."""
PATIENCE = GRACE + 4.0
"""Seconds after which a child that outlives the end of its input is killed: its guard should have done so."""


class Supervisor:
    """Trains runs in a child process, which is started when needed and kept from job to job, since starting it imports torch.

    The child ends with this process. As a context manager, the supervisor closes it at the end of the block.
    """

    def __init__(self) -> None:
        self._child: Child | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close(wait=kind is not KeyboardInterrupt)  # a second Ctrl-C waits for nothing

    def train(self, jobs: Sequence[dict[str, Any]], is_stopping: Callable[[], bool]) -> list[str | None]:
        """Train the jobs' runs together; return their states, None for a run that another process is training.

        The runs are stopped once `is_stopping()`. If the child of a single run dies, that run was killed; if it had several runs,
        it is unknown which of them was to blame, and each is trained alone.
        """
        if self._child and self._child.process.poll() is not None:
            self.close()
        child = self._child = self._child or Child()
        ended, asked_to_stop = child.train(jobs, is_stopping)
        if ended is not None:
            return ended
        self.close()
        if len(jobs) > 1 and not asked_to_stop:
            log.warning("the process of %d runs was lost; each is trained alone", len(jobs))
            return [state for job in jobs for state in self.train([job], is_stopping)]
        return [_record_loss(job, child.fault or _describe_exit(child.process.returncode), asked_to_stop) for job in jobs]

    def close(self, wait: bool = True) -> None:
        """End the child process, if there is one."""
        if self._child:
            self._child.close(wait)
            self._child = None


class Child:
    """A child process that trains runs, and the pipes to it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.launching.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.fault = ""

    def train(self, jobs: Sequence[dict[str, Any]], is_stopping: Callable[[], bool]) -> tuple[list[str | None] | None, bool]:
        """Return the final states of the runs, None if the child died, and whether it was asked to stop.

        It is asked to save and exit once `is_stopping()`, and killed if it has not after STOP_SECONDS, or if it answers anything
        but states.
        """
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(list(jobs)).encode() + b"\n")
            self.process.stdin.flush()
        asked_to_stop, answer, deadline = False, b"", math.inf
        while not answer.endswith(b"\n"):
            piece = self._read()
            if piece is None:
                return None, asked_to_stop
            answer += piece
            if not asked_to_stop and is_stopping():
                self.process.terminate()
                asked_to_stop, deadline = True, time.monotonic() + STOP_SECONDS
            elif time.monotonic() > deadline:
                self.process.kill()
        with suppress(ValueError, TypeError):
            ended = json.loads(answer)
            if len(ended) == len(jobs) and all(state in (None, *states.STATES) for state in ended):
                return ended, asked_to_stop
        self.fault = "its process was ended: something else than the harness wrote to its pipe"
        self.process.kill()
        self.process.wait()
        return None, asked_to_stop

    def _read(self) -> bytes | None:
        """Wait at most POLL seconds and return what the child has answered, None once it is dead."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            if select.select([self.process.stdout], [], [], POLL)[0]:
                if piece := os.read(self.process.stdout.fileno(), 65536):
                    return piece
                self.process.stdout.close()
            return b"" if self.process.poll() is None else None
        with suppress(subprocess.TimeoutExpired):  # a plugin closed the pipe; the states are on disk as well
            self.process.wait(POLL)
            return None
        return b""

    def close(self, wait: bool) -> None:
        """Close the child's input, which ends it within `parent_watch.GRACE` seconds; `wait` for that."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()
        if wait:
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _describe_exit(code: int) -> str:
    """Return how a process with this exit code ended."""
    if code >= 0:
        return f"its process ended by exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")


def _record_loss(job: dict[str, Any], reason: str, asked_to_stop: bool) -> str | None:
    """Record that a run lost its process for this reason; return the run's state, None if another process is training it."""
    results = Path(job["results"])
    run = Run(paths.run_folder(results, job["run"]))
    with locks.try_lock(paths.lock(results, run.name)) as locked:
        if not locked:
            return None
        if run.finished() or run.state == states.FAILED:
            return run.state
        if asked_to_stop:
            set_state(run, states.INTERRUPTED)
            return states.INTERRUPTED
        set_state(run, states.KILLED, error=reason)
    log.warning("%s: %s", run.name, reason)
    return states.KILLED


def set_state(run: Run, state: str, **facts: Any) -> None:
    """Write the state of a run whose process is gone, and these facts; the rest of its status is kept."""
    try:
        status = {key: value for key, value in run.status.items() if key != "state"}
    except RecordError:
        status = {}
    write_status(run, state, **(status | facts))
