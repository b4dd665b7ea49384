"""What a probe is, what it is given, and at which steps it looks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness.models.evaluation import Evaluation
from harness.models.introspection import Block, Layer

Row = dict[str, Any]

DENSE = 10
PER_OCTAVE = 3


@dataclass(frozen=True)
class Context:
    """The step that is about to happen.

    `step` updates have been made of `steps`; when the two are equal the pass is measured and no update follows.
    `images` [B, C, H, W] and `labels` [B] are the step's batch; `evaluate()` gives the error on the test images.
    """

    model: nn.Module
    step: int
    steps: int
    images: Tensor
    labels: Tensor
    layers: Sequence[Layer]
    blocks: Sequence[Block]
    evaluate: Callable[[], Evaluation]


class Probe(Protocol):
    """A class registered in `harness.config.registry.PROBE`; its rows become the table NAME.csv.gz of the run.

    A value of a row may be a zero-dimensional tensor: whoever collects the rows fetches them all at once.
    """

    def watch(self, context: Context) -> AbstractContextManager[list[Row]]:
        """Return a context around the step; the list it gives holds the rows once the context is left."""


def probe_steps(steps: int) -> list[int]:
    """Return the steps that are probed: 0 to 10, then three in each doubling, then the end."""
    dense = range(min(DENSE, steps) + 1)
    octaves = math.log2(steps / DENSE) if steps > DENSE else 0
    geometric = {round(DENSE * 2 ** (k / PER_OCTAVE)) for k in range(1, math.ceil(octaves * PER_OCTAVE))}
    return sorted({*dense, *geometric, steps})


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the 2-norm of each tensor, accumulated in float64: its square must not underflow in float32."""
    return list(torch._foreach_norm(list(tensors), 2, dtype=torch.float64))


def norms_of_gradients(layers: Sequence[Layer]) -> list[Tensor]:
    """Return ||dL/dW|| of each layer, 0 where no gradient reaches it."""
    return norms([gradient(layer) for layer in layers]) if layers else []


def gradient(layer: Layer) -> Tensor:
    """Return dL/dW of a layer, zeros where none reaches it."""
    return torch.zeros_like(layer.weight) if layer.weight.grad is None else layer.weight.grad


class Exact:
    """Float64 copies of activations, in one buffer: fresh memory for each would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0, dtype=torch.float64)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return the values of `tensor` in float64, flat, in the order of memory; valid until the next call."""
        n = tensor.numel()
        if self._buffer.numel() < n or self._buffer.device != tensor.device:
            self._buffer = torch.empty(n, dtype=torch.float64, device=tensor.device)
        in_memory = tensor.detach().permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor.detach()
        return self._buffer[:n].copy_(in_memory.reshape(-1))


def settle(rows: Sequence[Row]) -> None:
    """Replace the zero-dimensional tensors in rows by numbers, all in one transfer from the device."""
    places = [(row, key, value) for row in rows for key, value in row.items() if isinstance(value, Tensor)]
    if places:
        values = torch.stack([value.double() for *_, value in places]).tolist()
        for (row, key, tensor), value in zip(places, values, strict=True):
            row[key] = value if tensor.is_floating_point() else int(value)
