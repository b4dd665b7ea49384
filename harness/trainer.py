"""Have runs trained in a child process (`harness.worker`), so that what kills a training kills nothing else."""

from __future__ import annotations

import json
import logging
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import layout, locks, records
from harness.records import RecordError, Run

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two looks at whether to stop."""


class Trainer:
    """A child process that trains one run after the other; it ends when this process does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def train(self, job: dict[str, Any], stop: Path) -> tuple[bool, str | None]:
        """Return (whether the child lives, the state in which it left the run); it is asked to save once `stop` exists."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = False
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        while True:
            if select.select([self.process.stdout], [], [], POLL)[0]:
                answer = self.process.stdout.readline()
                if not answer:
                    self.process.wait()
                    return False, records.INTERRUPTED if asked else None
                state: str | None = json.loads(answer)
                return True, state
            if not asked and stop.exists():
                self.process.terminate()
                asked = True

    def close(self) -> None:
        """End the child, which ends with its input."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
        self.process.wait()


_trainer: list[Trainer] = []
"""This process's trainer, kept from run to run since starting one imports torch."""


def supervise(job: dict[str, Any], stop: Path) -> str | None:
    """Have the job's run trained apart; return its state, killed if the trainer died, None if another process has the run.

    It is stopped once the file `stop` exists.
    """
    if _trainer and _trainer[0].process.poll() is not None:
        dismiss()
    if not _trainer:
        _trainer.append(Trainer())
    trainer = _trainer[0]
    lives, state = trainer.train(job, stop)
    if lives:
        return state
    dismiss()
    code = trainer.process.returncode
    results = Path(job["results"])
    run = Run(layout.run_folder(results, job["run"]))
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    reason = f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")
    with locks.held(layout.lock(results, run.name)) as mine:
        if not mine:
            return None
        if run.finished():
            return run.state
        if state == records.INTERRUPTED:
            note(run, records.INTERRUPTED)
            return records.INTERRUPTED
        note(run, records.KILLED, error=reason)
    log.warning("%s: %s", run.name, reason)
    return records.KILLED


def dismiss() -> None:
    """End this process's trainer, if it has one."""
    while _trainer:
        _trainer.pop().close()


def note(run: Run, state: str, **more: Any) -> None:
    """Write the state of a run whose process is gone, the rest of its status kept."""
    try:
        facts = {key: value for key, value in run.status.items() if key != "state"}
    except RecordError:
        facts = {}
    records.write_status(run, state, **(facts | more))
