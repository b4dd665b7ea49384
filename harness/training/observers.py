"""Observers of a run: they see its start, rows, evaluations and end, and change nothing.

A plugin adds one with `@OBSERVER.register(NAME)` on a class, and `observers=[log,NAME]` selects it. Each run has its own
observers, in the process that trains it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.execution import ExecutionConfig
from harness.config.registry import OBSERVER
from harness.config.run import RunConfig
from harness.records.run import Run
from harness.tracking.live import Live

log = logging.getLogger("harness")


class Observer:
    """Base class of observers, whose methods do nothing."""

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        """Called before the first step in this process; `step` is above 0 if the run resumes.

        The tables in the run's folder hold the rows before this step.
        """

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Called with new rows of a table: `steps` or a probe's name."""

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Called with each new row of `epochs`: errors in percent, without the quantities that were not measured.

        `overflowed` names the evaluations (test, holdout, train) that were not finite; their errors are those of chance.
        """

    def end(self, state: str) -> None:
        """Called once, when the training ends in this process: `state` is done, diverged, interrupted or failed."""


class Observers:
    """The observers of one run, and its tracker."""

    def __init__(self, execution: ExecutionConfig) -> None:
        self._observers: dict[str, Observer | Live] = {f"observers={name}": OBSERVER[name]() for name in execution.observers}
        if execution.tracker != "none":
            self._observers[f"tracker={execution.tracker}"] = Live(execution.tracker)

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of every observer that has it. An observer that raises an exception is logged and dropped."""
        for name, observer in list(self._observers.items()):
            try:
                getattr(observer, method, lambda *_: None)(*arguments)
            except Exception as error:
                log.warning("%s: %s failed (%s: %s); dropped", name, method, type(error).__name__, error)
                del self._observers[name]


@OBSERVER.register("log")
class Log(Observer):
    """A line in the run's log for each row of `epochs`."""

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        self.name, self.steps = run.name, config.schedule.steps

    def evaluation(self, row: Mapping[str, Any]) -> None:
        if row["step"] == 0:
            log.info("%s: before the first step, training error %.2f %%", self.name, row["train_error"])
            return
        test = f", test error {row['test_error']:.2f} %" if "test_error" in row else ""
        if overflowed := row.get("overflowed"):
            test += f" (chance: the evaluation of {' and '.join(overflowed)} images is not finite)"
        batch = f"batch loss {row['batch_loss']:.4g}, batch error {row['batch_error']:.2f} %"
        log.info("%s: step %d of %d, %s%s, %.0f s", self.name, row["step"], self.steps, batch, test, row["seconds"])
