"""Have runs trained in a child process (`harness.worker`), so that what kills a training kills nothing else."""

from __future__ import annotations

import json
import logging
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import layout, locks, records
from harness.records import RecordError, Run

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two looks at whether to stop."""


class Trainer:
    """A child process that trains runs, those that it is given at once together; it ends when this process does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def train(self, jobs: Sequence[dict[str, Any]], stop: Path) -> tuple[list[str | None] | None, bool]:
        """Return the states in which the child left the runs, None if it died, and whether it was asked to stop.

        It is asked to save and leave once `stop` exists.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = False
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(list(jobs)).encode() + b"\n")
            self.process.stdin.flush()
        while True:
            if select.select([self.process.stdout], [], [], POLL)[0]:
                answer = self.process.stdout.readline()
                if not answer:
                    self.process.wait()
                    return None, asked
                states: list[str | None] = json.loads(answer)
                return states, asked
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


def supervise(jobs: Sequence[dict[str, Any]], stop: Path) -> list[str | None]:
    """Have the jobs' runs trained apart, together; return their states, None where another process has the run.

    They are stopped once the file `stop` exists. Where the trainer died, its run was killed; if there were several, it is not
    known which of them was to blame, and each goes on alone.
    """
    if _trainer and _trainer[0].process.poll() is not None:
        dismiss()
    if not _trainer:
        _trainer.append(Trainer())
    trainer = _trainer[0]
    states, asked = trainer.train(jobs, stop)
    if states is not None:
        return states
    dismiss()
    if len(jobs) > 1 and not asked:
        log.warning("the process of %d runs was lost; each goes on alone", len(jobs))
        return [state for job in jobs for state in supervise([job], stop)]
    return [_lost(job, trainer.process.returncode, asked) for job in jobs]


def _lost(job: dict[str, Any], code: int, asked: bool) -> str | None:
    """Note what became of a run whose process ended with this code; return its state."""
    results = Path(job["results"])
    run = Run(layout.run_folder(results, job["run"]))
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    reason = f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")
    with locks.held(layout.lock(results, run.name)) as mine:
        if not mine:
            return None
        if run.finished() or run.state == records.FAILED:
            return run.state
        if asked:
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
