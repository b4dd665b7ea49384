"""The interface of probes, the steps at which they measure, and their common arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.models.evaluation import Evaluation
from harness.models.introspection import BlockInfo, LayerInfo

ProbeRow = dict[str, Any]
"""A row of a probe's table by column. A value may be a zero-dimensional tensor, which `fetch_scalars` replaces by a number."""

DENSE = 10
"""Every step is probed up to this one."""
PER_OCTAVE = 3
"""Probed steps per doubling of the step after that."""


@dataclass(frozen=True)
class Context:
    """The step that a probe watches.

    Attributes:
        step: number of optimizer updates completed; at `steps` the pass is measured and no update follows.
        images: the step's batch [B, C, H, W], with labels [B].
        evaluate: returns loss and error on the test images.
    """

    model: nn.Module
    step: int
    steps: int
    images: Tensor
    labels: Tensor
    layers: Sequence[LayerInfo]
    blocks: Sequence[BlockInfo]
    evaluate: Callable[[], Evaluation]


class Probe(Protocol):
    """A class registered in `harness.config.registry.PROBE`; its rows become the table NAME.csv.gz of the run."""

    def watch(self, context: Context) -> AbstractContextManager[list[ProbeRow]]:
        """Return a context manager around the step. It yields a list that holds the rows after exit."""


def probe_steps(steps: int) -> list[int]:
    """Return the probed steps: 0 to 10, three per doubling after that, and the last."""
    dense = range(min(DENSE, steps) + 1)
    octaves = math.log2(steps / DENSE) if steps > DENSE else 0
    geometric = {round(DENSE * 2 ** (k / PER_OCTAVE)) for k in range(1, math.ceil(octaves * PER_OCTAVE))}
    return sorted({*dense, *geometric, steps})


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the 2-norm of each tensor, accumulated in float64, since squares of small values underflow in float32."""
    return list(torch._foreach_norm(list(tensors), 2, dtype=torch.float64))


def gradient_norms(layers: Sequence[LayerInfo]) -> list[Tensor]:
    """Return ||dL/dW|| of each layer, 0 where no gradient reaches it."""
    return norms([gradient(layer) for layer in layers]) if layers else []


def gradient(layer: LayerInfo) -> Tensor:
    """Return dL/dW of a layer, zeros if no gradient reaches it."""
    return torch.zeros_like(layer.weight) if layer.weight.grad is None else layer.weight.grad


@contextmanager
def forward_hooks(hooks: Iterable[tuple[nn.Module, Callable[[nn.Module, Any, Tensor], None]]]) -> Iterator[None]:
    """Register a forward hook on each module, and remove them on exit."""
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


class Float64Buffer:
    """Converts tensors to float64 in one reused buffer; allocating memory for each would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0, dtype=torch.float64)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return the values of `tensor` in float64, flat, in memory order; valid until the next call."""
        n = tensor.numel()
        if self._buffer.numel() < n or self._buffer.device != tensor.device:
            self._buffer = torch.empty(n, dtype=torch.float64, device=tensor.device)
        in_memory_order = tensor.detach().permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor.detach()
        return self._buffer[:n].copy_(in_memory_order.reshape(-1))


def fetch_scalars(rows: Sequence[ProbeRow]) -> None:
    """Replace the zero-dimensional tensors in rows by numbers, in one transfer from the device."""
    scalars = [(row, key, value) for row in rows for key, value in row.items() if isinstance(value, Tensor)]
    if scalars:
        numbers = torch.stack([tensor.double() for *_, tensor in scalars]).tolist()
        for (row, key, tensor), number in zip(scalars, numbers, strict=True):
            row[key] = number if tensor.is_floating_point() else int(number)
