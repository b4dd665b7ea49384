"""Observers of a run: they see its start, its rows, its evaluations and its end, and change nothing.

A plugin adds one with `@OBSERVER.register(NAME)` on a class; `observers=[log,NAME]` selects it. An observer is created for
each run in the process that trains it. An exception in an observer is logged, and that observer is dropped; the run continues.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.registry import OBSERVER
from harness.config.run import RunConfig
from harness.records.run import Run

log = logging.getLogger("harness")


class Observer:
    """Base class of observers; override what you need."""

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        """Called before the first step in this process; `step` is above 0 if the run resumes."""

    def rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Called with new rows of a table: `steps` or a probe's name."""

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Called with each new row of `epochs`: errors in percent; a quantity that was not measured is absent.

        `overflowed` names the evaluations (test, holdout, train) that were not finite; their errors are those of chance.
        """

    def end(self, state: str) -> None:
        """Called once with the state in which the training left this process: done, diverged, interrupted or failed."""


class Observers:
    """All observers of one run."""

    def __init__(self, names: Sequence[str]) -> None:
        self._observers: dict[str, Observer] = {name: OBSERVER[name]() for name in names}

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of every observer."""
        for name, observer in list(self._observers.items()):
            try:
                getattr(observer, method, lambda *_: None)(*arguments)
            except Exception as error:
                log.warning("observers=%s: %s failed (%s: %s); dropped", name, method, type(error).__name__, error)
                del self._observers[name]


@OBSERVER.register("log")
class Log(Observer):
    """A line in the run's log for each row of `epochs`."""

    def start(self, run: Run, config: RunConfig, step: int) -> None:
        self.name, self.steps = run.name, config.schedule.steps

    def evaluation(self, row: Mapping[str, Any]) -> None:
        if row["step"] == 0:
            return log.info("%s: before the first step, training error %.2f %%", self.name, row["train_error"])
        test = row.get("test_error")
        measured = "" if test is None else f", test error {test:.2f} %"
        if overflowed := row.get("overflowed"):
            measured += f" (a guess: the evaluation of {' and '.join(overflowed)} images is not finite)"
        return log.info(
            "%s: step %d of %d, batch loss %.4g, batch error %.2f %%%s, %.0f s",
            *(self.name, row["step"], self.steps, row["batch_loss"], row["batch_error"], measured, row["seconds"]),
        )
