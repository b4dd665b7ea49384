"""Interleave runs in one process, since a small network leaves most of a GPU idle.

A run yields when the host would have to wait for its steps; meanwhile the other runs launch theirs. Each run has its own torch
settings, RNG state, log and CUDA stream. Results are bit-identical to a solo run, and a failure affects only that run.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack, suppress
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
    """Writes a run's log.txt. Lines that cannot be written, for example to a full disk, are dropped."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def isolated(task: Task[T], config: RunConfig, run: Run, solo: bool) -> Task[T]:
    """Run a task with its own torch settings, RNG states, log and CUDA stream, which it leaves at each yield.

    Args:
        solo: run the task to its end without yielding.
    """
    device, rng_state = torch.device(config.torch_device), torch.get_rng_state()
    handler = _RunLog(run.folder / paths.LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # creates the generators
        index = torch.cuda.current_device() if device.index is None else device.index
        generator: torch.Generator = torch.cuda.default_generators[index]
        cuda_rng_state = generator.clone_state()
    stream = new_stream(device)
    try:
        while True:
            with ExitStack() as stack:
                log.addHandler(handler)
                stack.callback(log.removeHandler, handler)
                stack.enter_context(deterministic(config))
                stack.callback(torch.set_rng_state, torch.get_rng_state())
                torch.set_rng_state(rng_state)
                stack.enter_context(stream)
                if device.type == "cuda":  # swap, do not copy: a CUDA graph draws from the state that it was recorded with
                    stack.callback(generator.graphsafe_set_state, generator.graphsafe_get_state())
                    generator.graphsafe_set_state(cuda_rng_state)
                try:
                    next(task)
                    while solo:
                        next(task)
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    rng_state = torch.get_rng_state()
            yield
    finally:
        task.close()
        handler.close()
