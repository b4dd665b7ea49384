"""Interleave runs in one process, so that small networks, each of which leaves most of a GPU idle, fill it together.

A run gives way when it has launched as many steps as it may before the host must wait for one of them; while the device computes
these steps, the other runs launch theirs. Each run has its own torch settings, RNG state, log and CUDA stream. Results are
bit-identical to a solo run, and a failure affects only that run.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

import torch

from harness.config.run import RunConfig
from harness.records import paths
from harness.records.run import Run
from harness.training.devices import deterministic, new_stream

T = TypeVar("T")
Task = Generator[None, None, T]
"""A generator that yields whenever another task may proceed, and finally returns a T."""

log = logging.getLogger("harness")


def interleave(tasks: Sequence[Task[T]]) -> list[T]:
    """Advance the tasks in turn until all have ended; return their results in the order of the tasks."""
    results: dict[int, T] = {}
    try:
        while len(results) < len(tasks):
            for index, task in enumerate(tasks):
                if index not in results:
                    try:
                        next(task)
                    except StopIteration as end:
                        results[index] = end.value
    finally:
        for task in tasks:
            task.close()
    return [results[index] for index in range(len(tasks))]


class _RunLog(logging.FileHandler):
    """A run's log.txt. Lines that cannot be written, for example to a full disk, are dropped."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class RunContext:
    """The process-wide state that a run has to itself: torch settings, RNG states, log and CUDA stream."""

    def __init__(self, config: RunConfig, run: Run) -> None:
        self.config, self.device = config, torch.device(config.torch_device)
        self._rng_state = torch.get_rng_state()
        self._handler = _RunLog(run.folder / paths.LOG, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        if self.device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # creates the generators
            index = torch.cuda.current_device() if self.device.index is None else self.device.index
            self._generator: torch.Generator = torch.cuda.default_generators[index]
            self._cuda_rng_state = self._generator.clone_state()
        self._stream = new_stream(self.device)

    def run(self, task: Task[T], solo: bool) -> Task[T]:
        """Run a task inside this context, which is left at each of its yields. With `solo`, nothing is yielded."""
        try:
            while True:
                with self._entered():
                    try:
                        next(task)
                        while solo:
                            next(task)
                    except StopIteration as end:
                        result: T = end.value
                        return result
                yield
        finally:
            task.close()
            self._handler.close()

    @contextmanager
    def _entered(self) -> Iterator[None]:
        with ExitStack() as stack:
            log.addHandler(self._handler)
            stack.callback(log.removeHandler, self._handler)
            stack.enter_context(deterministic(self.config))
            stack.callback(torch.set_rng_state, torch.get_rng_state())
            torch.set_rng_state(self._rng_state)
            stack.enter_context(self._stream)
            if self.device.type == "cuda":  # swap, do not copy: a CUDA graph draws from the state that it was recorded with
                stack.callback(self._generator.graphsafe_set_state, self._generator.graphsafe_get_state())
                self._generator.graphsafe_set_state(self._cuda_rng_state)
            try:
                yield
            finally:
                self._rng_state = torch.get_rng_state()
