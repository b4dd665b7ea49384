"""One training step as a function of tensors that stay where they are, so that a GPU can repeat it without the host.

What a step takes from the host is two numbers, the learning rate and which step it is. Both lie on the device, as do the order
and augmentation of the epoch's images, and what a step leaves (loss, wrong answers, gradient norms) goes into a row of one
buffer there, fetched now and then. So nothing in a step waits for the host, and on a GPU it is recorded once as a CUDA graph
and replayed; on a CPU, and where a probe looks, the same function is called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.config.run import RunConfig, UpdateScaling
from harness.data.batches import Batch, Batches
from harness.models.evaluation import wrong_answers
from harness.models.introspection import Layer
from harness.probes.base import norms_of_gradients
from harness.training.devices import autocast, record, recordable
from harness.training.optimizer import make_optimizer
from harness.training.update_scaling import equal_steps

log = logging.getLogger("harness")

WINDOW = 50
"""Steps between two fetches from a GPU; no result depends on it."""
WARM = 3
"""Steps that are launched one by one before the step is recorded: libraries set themselves up in their first calls."""
Watch = Callable[[Batch], AbstractContextManager[Any]]


class Stepper:
    """The updates of one training, on the current stream of the device; `step` of them have been launched.

    `watched` are the layers whose gradient norms are kept at every step; `replays` says whether steps are recorded and replayed.
    """

    def __init__(self, config: RunConfig, model: nn.Module, batches: Batches, watched: Sequence[Layer]) -> None:
        self.model, self.batches, self.watched = model, batches, watched
        self.device = next(model.parameters()).device
        self.window = window(self.device)
        self.optimizer = make_optimizer(model, config)
        self.precision = autocast(config)
        self.layerwise = config.update_scaling is UpdateScaling.layerwise
        groups = self.optimizer.param_groups
        self._rate_on_device = all(group.get("fused") or group.get("capturable") for group in groups)
        exact = torch.float64 if self.device.type == "cpu" else torch.float32  # the type that the fused optimiser reads there
        self._rate = torch.zeros((), dtype=exact, device=self.device)
        self._number = torch.zeros((), dtype=torch.int64, device=self.device)
        self._found = torch.zeros((self.window, 2 + len(watched)), dtype=torch.float64, device=self.device)
        self._row = torch.arange(self.window, device=self.device)[:, None]
        self.replays = recordable(self.device) and self._rate_on_device
        if self.replays and config.execution.activation_checkpointing:
            log.info("steps with activation checkpointing cannot be recorded as a CUDA graph: they are launched one by one")
            self.replays = False
        self._replay: Callable[[], None] | None = None
        self._launched = 0
        self.begin(0)

    def begin(self, step: int) -> None:
        """Go on from `step`, whatever was loaded into model and optimiser."""
        self.step = self.read_to = step
        self._number.fill_(step)
        self._set_rate(0.0)
        if self._rate_on_device:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate

    def take(self, rate: float, watch: Watch | None = None) -> None:
        """Launch the next update, at this learning rate, one by one within `watch(batch)` if a probe looks."""
        self.batches.prepare(self.step)
        if rate != self.rate:
            self._set_rate(rate)
        replay = self._recorded() if watch is None else None
        if replay is not None:
            replay()
        else:
            batch = self.batch()
            with nullcontext() if watch is None else watch(batch):
                self._update(batch)
            self._launched += 1
        self.step += 1

    def _set_rate(self, rate: float) -> None:
        self.rate = rate
        self._rate.fill_(rate)
        if not self._rate_on_device:  # an optimizer that takes only numbers
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    def _recorded(self) -> Callable[[], None] | None:
        """Return what replays a step, recorded now if it can be; None where steps are launched one by one."""
        if self._replay is None and self.replays and self._launched >= WARM:
            try:
                self._replay = record(lambda: self._update(self.batch()))
            except RuntimeError as error:
                log.warning("the step cannot be recorded as a CUDA graph, and is launched anew each time: %s", error)
                self.replays = False
        return self._replay

    def batch(self) -> Batch:
        """Return the batch of the next update."""
        return self.batches.cut(self._number)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return loss and number of wrong answers on the batch, as they are trained on, gradients set."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision:
            logits = self.model(batch.images)
        loss = functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), wrong_answers(logits.detach(), batch.labels)

    def _update(self, batch: Batch) -> None:
        loss, wrong = self.backward(batch)
        found = torch.stack([loss.double(), wrong.double(), *norms_of_gradients(self.watched)])
        with equal_steps(self.model.parameters()) if self.layerwise else nullcontext():
            self.optimizer.step()
        self._found.copy_(torch.where(self._row == self._number % self.window, found, self._found))
        self._number += 1

    @property
    def full(self) -> bool:
        """Whether the buffer must be read before the next update."""
        return self.step % self.window == 0

    def read(self) -> NDArray[np.float64]:
        """Return what each step since the last reading found, [steps, 2 + watched]: loss, wrong answers, gradient norms."""
        first = self.read_to % self.window
        found = self._found[first : first + self.step - self.read_to].to("cpu", copy=True)
        self.read_to = self.step
        return found.numpy()


def window(device: torch.device) -> int:
    """Return how many steps may pass between two readings: on a CPU one, since there nothing is gained by waiting."""
    return 1 if device.type == "cpu" else WINDOW
