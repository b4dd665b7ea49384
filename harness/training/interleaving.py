"""Runs that take turns in one process, so that small nets, each of which leaves most of a GPU idle, fill it together.

A run's turn ends when it has launched as many steps as it may before the host must wait for one of them; while the device works
through those, the others launch theirs. Each has to itself whatever else a process has once: the settings of torch, the state of
its random numbers, the log, and on a GPU a stream. So a run in a gang is to the bit the run that it is alone, and what ends one
ends no other.
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
from harness.training.devices import deterministic, own_stream

T = TypeVar("T")
Turns = Generator[None, None, T]
"""What gives way after every turn, and returns a T in the end."""

log = logging.getLogger("harness")


def together(lives: Sequence[Turns[T]]) -> list[T]:
    """Let each in turn have a turn until all have ended; return what they returned."""
    ended: dict[int, T] = {}
    try:
        while len(ended) < len(lives):
            for place, life in enumerate(lives):
                if place not in ended:
                    try:
                        next(life)
                    except StopIteration as end:
                        ended[place] = end.value
    finally:
        for life in lives:
            life.close()
    return [ended[place] for place in range(len(lives))]


class _RunLog(logging.FileHandler):
    """log.txt of a run; what cannot be written there, on a full disk, is left out: the run fails by its own files."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class Own:
    """What a run has to itself in its turns."""

    def __init__(self, config: RunConfig, run: Run) -> None:
        self.config, self.device = config, torch.device(config.torch_device)
        self._random = torch.get_rng_state()
        self._handler = _RunLog(run.folder / paths.LOG, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        if self.device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before it there are no generators
            self._cuda_random = self._generator().clone_state()
        self._stream = own_stream(self.device)

    def turns(self, life: Turns[T], alone: bool) -> Turns[T]:
        """Have every turn of `life` with what is its own; where it is alone in the process, all of it in one turn."""
        try:
            while True:
                with self._turn():
                    try:
                        next(life)
                        while alone:
                            next(life)
                    except StopIteration as end:
                        ended: T = end.value
                        return ended
                yield
        finally:
            life.close()
            self._handler.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with ExitStack() as stack:
            log.addHandler(self._handler)
            stack.callback(log.removeHandler, self._handler)
            stack.enter_context(deterministic(self.config))
            outside = torch.get_rng_state()
            torch.set_rng_state(self._random)
            stack.enter_context(self._stream)
            if self.device.type == "cuda":
                stack.enter_context(self._own_cuda_random())
            try:
                yield
            finally:
                self._random = torch.get_rng_state()
                torch.set_rng_state(outside)

    @contextmanager
    def _own_cuda_random(self) -> Iterator[None]:
        """Let the device's generator go on from this run's state: a graph that was recorded draws from the state of that time."""
        outside = self._generator().graphsafe_get_state()
        self._generator().graphsafe_set_state(self._cuda_random)
        try:
            yield
        finally:
            self._generator().graphsafe_set_state(outside)

    def _generator(self) -> torch.Generator:
        index = torch.cuda.current_device() if self.device.index is None else self.device.index
        generator: torch.Generator = torch.cuda.default_generators[index]
        return generator
