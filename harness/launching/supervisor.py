"""Have runs trained in a child process (`harness.launching.worker`), so that what kills a training kills nothing else."""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.launching.parent_watch import GRACE
from harness.records import paths, states
from harness.records.reader import RecordError
from harness.records.run import Run, write_status
from harness.system import locks

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two looks at whether to stop."""
STOP_SECONDS = 120.0
"""How long a child may take to save and leave when asked: the default of `checkpoint_minutes`, so no more than that is lost."""
PATIENCE = GRACE + 4.0
"""Seconds after which a child that outlives the end of its input is killed: its guard should have done so."""


class Trainer:
    """A child process that trains runs, those that it is given at once together; it ends when this process does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.launching.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.fault = ""

    def train(self, jobs: Sequence[dict[str, Any]], stopped: Callable[[], bool]) -> tuple[list[str | None] | None, bool]:
        """Return the states in which the child left the runs, None if it died, and whether it was asked to stop.

        It is asked to save and leave once `stopped()`. It is killed if it has not after STOP_SECONDS, or if it answers anything
        else than states.
        """
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(list(jobs)).encode() + b"\n")
            self.process.stdin.flush()
        asked, answer, deadline = False, b"", math.inf
        while not answer.endswith(b"\n"):
            piece = self._read()
            if piece is None:
                return None, asked
            answer += piece
            if not asked and stopped():
                self.process.terminate()
                asked, deadline = True, time.monotonic() + STOP_SECONDS
            elif time.monotonic() > deadline:
                self.process.kill()
        try:
            ended = json.loads(answer)
            if len(ended) == len(jobs) and all(state in (None, *states.STATES) for state in ended):
                return ended, asked
        except (ValueError, TypeError):
            pass
        self.fault = "its process was ended: something else than the harness wrote to its pipe"
        self.process.kill()
        self.process.wait()
        return None, asked

    def _read(self) -> bytes | None:
        """Wait for a moment, and return what the child has answered meanwhile; None once it is dead."""
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
        """Close the child's input, with which it ends after at most `orphans.GRACE` seconds, and wait for that if asked to."""
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


_trainer: list[Trainer] = []
"""This process's trainer, kept from run to run since starting one imports torch."""


def supervise(jobs: Sequence[dict[str, Any]], stopped: Callable[[], bool]) -> list[str | None]:
    """Have the jobs' runs trained apart, together; return their states, None where another process has the run.

    They are stopped once `stopped()`. Where the trainer died, its run was killed; if there were several, it is not known which of
    them was to blame, and each goes on alone.
    """
    if _trainer and _trainer[0].process.poll() is not None:
        dismiss()
    if not _trainer:
        _trainer.append(Trainer())
    trainer = _trainer[0]
    ended, asked = trainer.train(jobs, stopped)
    if ended is not None:
        return ended
    dismiss()
    if len(jobs) > 1 and not asked:
        log.warning("the process of %d runs was lost; each goes on alone", len(jobs))
        return [state for job in jobs for state in supervise([job], stopped)]
    return [_lost(job, trainer.fault or _end(trainer.process.returncode), asked) for job in jobs]


def _end(code: int) -> str:
    """Return how a process with this exit code ended."""
    if code >= 0:
        return f"its process ended by exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")


def _lost(job: dict[str, Any], reason: str, asked: bool) -> str | None:
    """Note what became of a run whose process ended for this reason; return its state."""
    results = Path(job["results"])
    run = Run(paths.run_folder(results, job["run"]))
    with locks.try_lock(paths.lock(results, run.name)) as mine:
        if not mine:
            return None
        if run.finished() or run.state == states.FAILED:
            return run.state
        if asked:
            note(run, states.INTERRUPTED)
            return states.INTERRUPTED
        note(run, states.KILLED, error=reason)
    log.warning("%s: %s", run.name, reason)
    return states.KILLED


def dismiss(wait: bool = True) -> None:
    """End this process's trainer, if it has one."""
    while _trainer:
        _trainer.pop().close(wait)


@contextmanager
def own_trainer() -> Iterator[None]:
    """Dismiss, after the block, the trainer of this process: a launcher of one worker has the runs trained from here.

    Nothing is waited for after a second Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        dismiss(wait=False)
        raise
    finally:
        dismiss()


def note(run: Run, state: str, **more: Any) -> None:
    """Write the state of a run whose process is gone, the rest of its status kept."""
    try:
        facts = {key: value for key, value in run.status.items() if key != "state"}
    except RecordError:
        facts = {}
    write_status(run, state, **(facts | more))
