"""Activation checkpointing: keep a block's input alone, and compute the rest again when its gradient is due.

Chen et al. 2016 (arXiv:1604.06174). Gradients, running statistics and random draws are bit-equal to those of an ordinary
step, and forward hooks see each pass once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 2**26
"""Bytes that are asked for at once for what is kept: so many that the system gives and takes them back in one piece."""


class Staged(nn.Module):
    """A net whose `stages` hold its blocks; with `recompute` what lies inside a block is not kept for the backward pass."""

    stages: nn.ModuleList
    recompute: bool = False

    def through_stages(self, x: Tensor) -> Tensor:
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        kept = Kept()
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)
            for block in stage:
                x = kept(recomputed(block, x)) if recompute else block(x)
        return x


class Kept:
    """Copies of tensors in large chunks of memory, apart from what comes and goes between them and would leave holes."""

    def __init__(self) -> None:
        self._chunk = torch.empty(0)
        self._used = 0

    def __call__(self, x: Tensor) -> Tensor:
        copy: Tensor = _Copy.apply(x, self)
        return copy

    def place(self, x: Tensor) -> Tensor:
        """Return room for a tensor of the shape, strides and type of x, whose memory has no gaps."""
        if self._chunk.dtype != x.dtype or self._used + x.numel() > self._chunk.numel():
            self._chunk, self._used = x.new_empty(max(x.numel(), CHUNK // x.element_size())), 0
        room = x.new_empty(0).set_(self._chunk.untyped_storage(), self._used, x.shape, x.stride())
        self._used += x.numel()
        return room


class _Copy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Kept) -> Tensor:
        return kept.place(x).copy_(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """Return block(x), of which nothing but x is kept: [B, C, H, W] to what the block makes of it."""
    y: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))
    return y


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _unseen(block)


@contextmanager
def _unseen(block: nn.Module) -> Iterator[None]:
    """Let a pass leave the running statistics and call no forward hook: it has been seen before."""
    modules = list(block.modules())
    kept = [(module, module._buffers, module._forward_hooks) for module in modules]
    for module in modules:
        module._buffers = {name: buffer if buffer is None else buffer.clone() for name, buffer in module._buffers.items()}
        module._forward_hooks = OrderedDict()
    try:
        yield
    finally:
        for module, buffers, hooks in kept:
            module._buffers, module._forward_hooks = buffers, hooks
