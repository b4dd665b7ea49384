"""One training step as a function of tensors at fixed addresses, so that a GPU can replay it without the host.

All inputs of a step are on the device, including its index, the learning rate, and the order and augmentation of the epoch's
images. Its results (loss, wrong answers, gradient norms) go into a row of a buffer on the device, which is fetched every WINDOW
steps. On a GPU the step is recorded once as a CUDA graph and replayed; on a CPU, and while probes watch, it is called.
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

from harness.config.run import Precision, RunConfig, UpdateScaling
from harness.data.batches import Batch, Batches
from harness.models.evaluation import wrong_answers
from harness.models.introspection import LayerInfo
from harness.probes.base import gradient_norms
from harness.training.devices import can_record_graph, record_graph
from harness.training.optimizer import make_optimizer
from harness.training.update_scaling import scaled_gradients

log = logging.getLogger("harness")

WINDOW = 50
"""Steps between two fetches from a GPU; no result depends on it."""
WARM = 3
"""Steps launched one by one before the step is recorded: libraries initialise themselves in their first calls."""
Watch = Callable[[Batch], AbstractContextManager[Any]]


class Stepper:
    """The updates of one training, on the current stream of the device.

    Attributes:
        step: number of updates launched.
        precision: the context of the forward pass, autocast to bfloat16 or plain float32.
        replays: whether steps are recorded as a CUDA graph and replayed.
        window: steps after which results must be fetched.

    Args:
        watched: layers whose gradient norm is computed at every step.
    """

    def __init__(self, config: RunConfig, model: nn.Module, batches: Batches, watched: Sequence[LayerInfo]) -> None:
        self.model, self.batches, self.watched = model, batches, watched
        device = next(model.parameters()).device
        self.window = window(device)
        self.optimizer = make_optimizer(model, config)
        self.precision = torch.autocast(config.device, torch.bfloat16, enabled=config.precision is Precision.bf16)
        self.layerwise = config.update_scaling is UpdateScaling.layerwise
        self._rate_on_device = all(group.get("fused") or group.get("capturable") for group in self.optimizer.param_groups)
        rate_type = torch.float64 if device.type == "cpu" else torch.float32  # as torch's fused optimizers read it
        self._rate = torch.zeros((), dtype=rate_type, device=device)
        self._index = torch.zeros((), dtype=torch.int64, device=device)
        self._results = torch.zeros((self.window, 2 + len(watched)), dtype=torch.float64, device=device)
        self._row = torch.arange(self.window, device=device)[:, None]
        self.replays = can_record_graph(device) and self._rate_on_device
        if self.replays and config.execution.activation_checkpointing:
            log.info("steps with activation checkpointing cannot be recorded as a CUDA graph: they are launched one by one")
            self.replays = False
        self._replay: Callable[[], None] | None = None
        self._launched = 0
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Continue at `step`, with the state that the model and the optimizer now have."""
        self.step = self._fetched = step
        self._index.fill_(step)
        self._set_rate(0.0)

    def take(self, rate: float, watch: Watch | None = None) -> None:
        """Launch the next update.

        Args:
            rate: learning rate.
            watch: called with the batch, returns a context manager around the step, which is then not replayed.
        """
        self.batches.prepare(self.step)
        if rate != self._last_rate:
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
        self._last_rate = rate
        self._rate.fill_(rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate if self._rate_on_device else rate

    def _recorded(self) -> Callable[[], None] | None:
        """Return a function that replays the step, which is recorded now if possible; None while it cannot be replayed."""
        if self._replay is None and self.replays and self._launched >= WARM:
            try:
                self._replay = record_graph(lambda: self._update(self.batch()))
            except RuntimeError as error:
                log.warning("the step cannot be recorded as a CUDA graph, and is launched anew each time: %s", error)
                self.replays = False
        return self._replay

    def batch(self) -> Batch:
        """Return the batch of the next update."""
        return self.batches.cut(self._index)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the gradients of the batch's loss in training mode; return the loss and the number of wrong answers."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision:
            logits = self.model(batch.images)
        loss = functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), wrong_answers(logits.detach(), batch.labels)

    def _update(self, batch: Batch) -> None:
        loss, wrong = self.backward(batch)
        results = torch.stack([loss.double(), wrong.double(), *gradient_norms(self.watched)])
        with scaled_gradients(self.model.parameters()) if self.layerwise else nullcontext():
            self.optimizer.step()
        self._results.copy_(torch.where(self._row == self._index % self.window, results, self._results))
        self._index += 1

    @property
    def full(self) -> bool:
        """Whether the results must be fetched before the next update."""
        return self.step % self.window == 0

    def read(self) -> NDArray[np.float64]:
        """Return the results of each step since the last call, [steps, 2 + watched]: loss, wrong answers, gradient norms."""
        first = self._fetched % self.window
        results = self._results[first : first + self.step - self._fetched].to("cpu", copy=True)
        self._fetched = self.step
        return results.numpy()


def window(device: torch.device) -> int:
    """Return the number of steps between two fetches: 1 on a CPU, where waiting saves nothing."""
    return 1 if device.type == "cpu" else WINDOW
