"""Activation checkpointing: keep only the inputs of blocks, and recompute the rest in the backward pass.

Chen et al. 2016 (arXiv:1604.06174). Gradients, running statistics and random draws are bit-equal to those of an ordinary
step, and forward hooks are called once per pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from harness.models.evaluation import forward_hooks_disabled

CHUNK = 2**26
"""Bytes allocated at once for block inputs; allocations of this size are mapped and returned to the system in one piece."""


class Staged(nn.Module):
    """A net whose `stages` hold its blocks; with `recompute`, training recomputes the activations inside each block."""

    stages: nn.ModuleList
    recompute: bool = False

    def through_stages(self, x: Tensor) -> Tensor:
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        pool = ChunkPool()
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            for block in stage:
                if recompute:  # no name holds the block's own output, so that it is freed at once
                    x = _Copy.apply(checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block)), pool)
                else:
                    x = block(x)
        return x


class ChunkPool:
    """Allocates tensors in large chunks of memory; between short-lived tensors they would fragment the heap."""

    def __init__(self) -> None:
        self._chunk = torch.empty(0)
        self._used = 0

    def allocate_like(self, x: Tensor) -> Tensor:
        """Return an uninitialised tensor with the shape, strides and type of x; the memory of x must have no gaps."""
        if self._chunk.dtype != x.dtype or self._used + x.numel() > self._chunk.numel():
            self._chunk, self._used = x.new_empty(max(x.numel(), CHUNK // x.element_size())), 0
        tensor = x.new_empty(0).set_(self._chunk.untyped_storage(), self._used, x.shape, x.stride())
        self._used += x.numel()
        return tensor


class _Copy(torch.autograd.Function):
    """A differentiable copy of a tensor in a pool."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: ChunkPool) -> Tensor:
        return pool.allocate_like(x).copy_(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first pass and of the recomputation."""
    return nullcontext(), _without_side_effects(block)


@contextmanager
def _without_side_effects(block: nn.Module) -> Iterator[None]:
    """Disable forward hooks and discard changes to buffers such as running statistics: the first pass has made them."""
    buffers = [(module, name, value) for module in block.modules() for name, value in module.named_buffers(recurse=False)]
    for module, name, value in buffers:
        setattr(module, name, value.clone())
    try:
        with forward_hooks_disabled(block):
            yield
    finally:
        for module, name, value in buffers:
            setattr(module, name, value)
