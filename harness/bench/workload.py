"""The harness's own training step, as a run takes it: `harness.training.loop.Training` is driven, not copied."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.bench.machine import settled
from harness.bench.random_images import RANDOM
from harness.config.data import SCHEDULES, DataConfig, LocatedData
from harness.config.run import GradientNorms, Precision, RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data.datasets import Facts, source
from harness.models.summary import inspect
from harness.probes.base import probe_steps
from harness.records.run import Run
from harness.system.signals import Stop
from harness.training.devices import own_stream, resolve
from harness.training.loop import Training
from harness.training.step import WARM

DATA = {32: RANDOM, 8: "digits"}
"""The data set of each size of image."""
SCHEDULE = {32: ScheduleConfig(), 8: SCHEDULES["digits"]}
LEARNING_RATE = 1e-4
"""So small that a net stays about where it began: no loss overflows, and no gradient sinks to where arithmetic is slow."""


@dataclass(frozen=True)
class Cell:
    """What is timed: a net of `depth` layers on images of `size` by `size`, at the default batch size; threads of a CPU."""

    size: int
    shortcut: str
    depth: int
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def data(self) -> LocatedData:
        return LocatedData(DATA[self.size])

    @property
    def config(self) -> RunConfig:
        """The run whose steps are timed: the default one, with `LEARNING_RATE`."""
        schedule = replace(SCHEDULE[self.size], learning_rate=LEARNING_RATE)
        choices = {key: value for key, value in asdict(self).items() if key != "size"}
        return RunConfig(**choices, data=self.data, schedule=schedule)

    def check(self) -> None:
        """Raise ChoiceError where this machine does not have the device."""
        resolve(self.config)

    @property
    def facts(self) -> Facts:
        return source(self.data).facts(self.data)

    @property
    def batch(self) -> int:
        return SCHEDULE[self.size].batch_size

    @property
    def probed_share(self) -> float:
        """Probed steps in all steps of the default schedule."""
        steps = SCHEDULE[self.size].steps
        return len(probe_steps(steps)) / steps


@dataclass(frozen=True)
class Work:
    """What a training step has to do at least: FLOPs, a multiply-add counting as two, and bytes to and from memory.

    `memory` is what it holds at least, in bytes.
    """

    flops: float
    bytes: float
    memory: float


def work(cell: Cell) -> Work:
    """Return the work of a training step on a batch.

    The backward pass takes the products of the forward pass twice: for the gradients of the inputs and of the weights. What
    the passes keep is written once and read once; weights, their gradients and momentum are read, weights and momentum written.
    """
    facts, bf16 = cell.facts, cell.precision == Precision.bf16.value
    found = inspect(cell.config, facts.channels, facts.size, facts.classes, cell.batch, bf16)
    traffic = 2.0 * found.memory.activations + 5.0 * found.memory.weights
    return Work(3.0 * found.flops * cell.batch, traffic, found.memory.total)


class Ours:
    """A training whose steps are taken on demand, within `harness.training.devices.exactly` as a run's.

    Each method repeats one thing and waits for the device.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, self.config = cell, cell.config
        self.device = torch.device(self.config.torch_device)
        with tempfile.TemporaryDirectory() as folder:  # nothing is written to it
            every = replace(self.config, gradient_norms=GradientNorms.every)
            self.stream = own_stream(self.device)
            with self.stream:
                self.training = Training(self.config, Run(Path(folder)), {}, Stop())
                self.watching = Training(every, Run(Path(folder)), {}, Stop())
        for training in (self.training, self.watching):
            if training.stepper.replays:  # steps are recorded before they are timed
                self._steps(training, WARM + 1, probed=False)

    def step(self, times: int) -> None:
        """Take ordinary steps, losses and errors fetched as in a run."""
        self._steps(self.training, times, probed=False)

    def probed(self, times: int) -> None:
        """Take steps that are probed."""
        self._steps(self.training, times, probed=True)

    def with_norms(self, times: int) -> None:
        """Take ordinary steps, and the norm of every layer's weight gradient at each of them."""
        self._steps(self.watching, times, probed=False)

    def batches(self, times: int) -> None:
        """Cut and augment batches, and do nothing with them."""
        with self.stream:
            for number in range(times):
                self.training.stepper.batches.at(self.training.step + number)
        settled(self.device)

    def _steps(self, training: Training, times: int, probed: bool) -> None:
        with self.stream:
            for _ in range(times):
                training.advance(probed)
                if training.stepper.full:
                    training.flush()
        settled(self.device)
