"""The timed nets, and the harness's training step on them, as `harness.training.loop.Training` takes it in a run."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from harness.bench.machine import synchronize
from harness.bench.random_images import RANDOM
from harness.config.data import SCHEDULES, LocatedData
from harness.config.run import GradientNorms, Precision, RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data.datasets import Facts, source
from harness.models.summary import summarize
from harness.probes.base import probe_steps
from harness.records.run import Run
from harness.system.signals import Stop
from harness.training.devices import new_stream
from harness.training.loop import Training
from harness.training.step import WARM

DATA = {32: RANDOM, 8: "digits"}
"""The data set by image size."""
SCHEDULE = {32: ScheduleConfig(), 8: SCHEDULES["digits"]}
LEARNING_RATE = 1e-4
"""Weights hardly change, so no loss overflows and no gradient becomes subnormal, which would slow arithmetic down."""


@dataclass(frozen=True)
class Cell:
    """A net of `depth` layers on images of `size` by `size` pixels, at the default batch size, with a number of CPU threads."""

    size: int
    shortcut: str
    depth: int
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 1

    @property
    def data(self) -> LocatedData:
        return LocatedData(DATA[self.size])

    @property
    def config(self) -> RunConfig:
        """The run whose steps are timed, with default keys except for `LEARNING_RATE`."""
        schedule = replace(SCHEDULE[self.size], learning_rate=LEARNING_RATE)
        choices = {key: value for key, value in asdict(self).items() if key != "size"}
        return RunConfig(**choices, data=self.data, schedule=schedule)

    @property
    def facts(self) -> Facts:
        return source(self.data).facts(self.data)

    @property
    def batch(self) -> int:
        return SCHEDULE[self.size].batch_size

    @property
    def probed_share(self) -> float:
        """The share of probed steps in the default schedule."""
        steps = SCHEDULE[self.size].steps
        return len(probe_steps(steps)) / steps


class Work(NamedTuple):
    """The least work of a training step: FLOPs (a multiply-add counts as two), bytes moved to and from memory, bytes held."""

    flops: float
    bytes: float
    memory: float


def work(config: RunConfig, facts: Facts) -> Work:
    """Return the work of a training step of a run on images of this shape.

    The backward pass computes as many products as two forward passes: for the gradients of the inputs and of the weights. Kept
    activations are written once and read once. Weights, gradients and momentum are read; weights and momentum are written.
    """
    batch, bf16 = config.schedule.batch_size, config.precision is Precision.bf16
    net = summarize(config, facts.channels, facts.size, facts.classes, batch, bf16)
    traffic = 2.0 * net.memory.activations + 5.0 * net.memory.weights
    return Work(3.0 * net.flops * batch, traffic, net.memory.total)


class Ours:
    """The harness's training step on demand. Use it within `harness.training.devices.deterministic`, as in a run.

    Each method repeats one operation, then waits for the device.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, self.config = cell, cell.config
        self.device = torch.device(self.config.torch_device)
        with tempfile.TemporaryDirectory() as folder:  # no file is written
            every = replace(self.config, gradient_norms=GradientNorms.every)
            self.stream = new_stream(self.device)
            with self.stream:
                self.training = Training(self.config, Run(Path(folder)), {}, Stop())
                self.watching = Training(every, Run(Path(folder)), {}, Stop())
        for training in (self.training, self.watching):
            if training.stepper.replays:  # record the graphs before timing
                self._steps(training, WARM + 1, probed=False)

    def step(self, times: int) -> None:
        """Take ordinary steps, fetching losses and errors as in a run."""
        self._steps(self.training, times, probed=False)

    def probed(self, times: int) -> None:
        """Take probed steps."""
        self._steps(self.training, times, probed=True)

    def with_norms(self, times: int) -> None:
        """Take ordinary steps, each with the norm of every layer's weight gradient."""
        self._steps(self.watching, times, probed=False)

    def batches(self, times: int) -> None:
        """Cut and augment batches, without using them."""
        with self.stream:
            for number in range(times):
                self.training.stepper.batches.at(self.training.step + number)
        synchronize(self.device)

    def _steps(self, training: Training, times: int, probed: bool) -> None:
        with self.stream:
            for _ in range(times):
                training.advance(probed)
                if training.stepper.full:
                    training.flush()
        synchronize(self.device)
