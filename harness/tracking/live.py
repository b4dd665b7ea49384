"""Write the rows of a run to a tracker while it trains, in a thread for which the training never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.flat import flatten
from harness.config.registry import TRACKER
from harness.config.run import RunConfig
from harness.records import paths, states
from harness.records.run import Run
from harness.tracking import Tracker
from harness.tracking.scalars import Scalars, scalars, scalars_on_disk

QUEUE = 10_000
"""Maximum number of calls whose rows wait for the tracker."""
PERIOD = 1.0
"""Seconds between two writes."""
PATIENCE = 10.0
"""Maximum seconds that the end of a run waits for its tracker; its record is complete by then."""
PATIENCE_STOPPED = 1.5
"""The same of a run that was stopped: other runs of the process still have to save, and its rows are written when it resumes."""

EXPORTED = "gradient_norms"
"""A table with so many numbers that a live tracker would slow the training; `python -m harness.export` exports it."""


class TrackerError(Exception):
    """The tracker raised an exception or is too slow; the caller logs the reason and drops the observer."""


class Live:
    """An observer (`harness.training.observers`) that hands rows to a tracker's thread.

    Every method returns at once, except `end`, which waits at most PATIENCE seconds. `rows`, `evaluation` and `end` raise
    TrackerError.
    """

    def __init__(self, tracker: str) -> None:
        self._tracker, self._state = tracker, states.INTERRUPTED
        self._waiting: deque[tuple[str, Sequence[Mapping[str, Any]]]] = deque()
        self._ended = threading.Event()
        self._error = ""

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        """Begin the run's entry with the rows on disk, which are those of the run's checkpoint if it resumes."""
        self._run, self._choices = run, flatten(config.choices())
        self._folder = run.folder.absolute().parent.parent / paths.TRACKING / self._tracker
        past = list(scalars_on_disk(run, without=EXPORTED))
        self._thread = threading.Thread(target=self._work, args=(past,), name=f"tracker of {run.name}", daemon=True)
        self._thread.start()

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._error:
            raise TrackerError(self._error)
        if len(self._waiting) >= QUEUE:
            self._ended.set()
            raise TrackerError("it is slower than the training")
        self._waiting.append((table, rows))

    def evaluation(self, row: Mapping[str, Any]) -> None:
        self.rows("epochs", [row])

    def end(self, state: str) -> None:
        self._state = state
        self._ended.set()
        patience = min(PATIENCE, PATIENCE_STOPPED) if state == states.INTERRUPTED else PATIENCE
        self._thread.join(patience)
        if self._error:
            raise TrackerError(self._error)
        if self._thread.is_alive():
            raise TrackerError(f"it has not ended after {patience:g} s; its last rows may be missing")

    def _work(self, past: Sequence[Scalars]) -> None:
        try:
            tracker = self._begin()
            tracker.write(past)
            while not self._ended.wait(PERIOD):
                self._write(tracker)
            self._write(tracker)
            if self._state == states.DIVERGED:  # rows were dropped after the divergence, and the last one was added
                tracker.close(states.INTERRUPTED)
                tracker = self._begin()
                tracker.write(list(scalars_on_disk(self._run, without=EXPORTED)))
            tracker.close(self._state)
        except BaseException as error:  # whatever a tracker raises, SystemExit included
            self._error = f"{type(error).__name__}: {error}"

    def _begin(self) -> Tracker:
        tracker: Tracker = TRACKER[self._tracker](self._folder, self._run.name, self._choices)
        return tracker

    def _write(self, tracker: Tracker) -> None:
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        tracker.write([row for table, given in rows for row in scalars(table, given)])
