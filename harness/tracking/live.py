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
"""Maximum seconds that the end of a run waits for its tracker."""


class Live:
    """An observer (`harness.training.observers`) that hands rows to a tracker's thread.

    Every method returns at once, except `end`, which waits at most PATIENCE seconds. It raises the exception that ended the
    thread, or an exception of its own if the tracker is too slow; whoever calls it logs the exception and drops the observer.
    """

    def __init__(self, tracker: str) -> None:
        self._tracker, self._state = tracker, states.INTERRUPTED
        self._waiting: deque[tuple[str, Sequence[Mapping[str, Any]]]] = deque()
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        """Begin the run's entry; that of a resumed run begins with the rows on disk, which are those of its checkpoint."""
        self._run, self._choices = run, flatten(config.choices())
        past = list(scalars_on_disk(run)) if step else []
        self._thread = threading.Thread(target=self._work, args=(past,), name=f"tracker of {run.name}", daemon=True)
        self._thread.start()

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._error:
            raise self._error
        if len(self._waiting) >= QUEUE:
            self._ended.set()
            raise TimeoutError("it is slower than the training")
        self._waiting.append((table, rows))

    def evaluation(self, row: Mapping[str, Any]) -> None:
        self.rows("epochs", [row])

    def end(self, state: str) -> None:
        self._state = state
        self._ended.set()
        self._thread.join(PATIENCE)
        if self._error:
            raise self._error
        if self._thread.is_alive():
            raise TimeoutError(f"it has not ended after {PATIENCE:g} s; its last rows may be missing")

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
                tracker.write(list(scalars_on_disk(self._run)))
            tracker.close(self._state)
        except BaseException as error:  # whatever a tracker raises, SystemExit included
            self._error = error

    def _begin(self) -> Tracker:
        folder = self._run.folder.parent.parent / paths.TRACKING / self._tracker
        tracker: Tracker = TRACKER[self._tracker](folder, self._run.name, self._choices)
        return tracker

    def _write(self, tracker: Tracker) -> None:
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        tracker.write([row for table, given in rows for row in scalars(table, given)])
