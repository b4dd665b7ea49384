"""A lesion study of the trained net (Veit et al. 2016, arXiv:1605.06431, section 4.1): one block is taken out, the rest left.

Of a block with a shortcut its shortcut stays; a plain block is replaced by the identity in its shape (option A). What follows
the addition stays in both cases. A transition of family densenet has no branch, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.config.registry import PROBE
from harness.probes.base import Context, Row


@PROBE.register("lesions")
class Lesions:
    """Each block at the end of training: loss and error on the test images without it."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[Row]]:
        rows: list[Row] = []
        yield rows
        if context.step < context.steps:
            return
        for block in context.blocks:
            if hasattr(block.module, "shortcut"):
                with without_branch(block.module):
                    found = context.evaluate()
                about = {"step": context.step, "block": block.number, "name": block.name, "stage": block.stage}
                rows.append(about | {"test_loss": found.loss, "test_error": found.error})


class Alone(nn.Module):
    """A shortcut whose branch is nothing."""

    def __init__(self, shortcut: Any) -> None:
        super().__init__()
        self.shortcut, self.projects = shortcut, shortcut.projects

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return what the shortcut makes of x alone; where it makes nothing of it, x in the branch's shape."""
        alone: Tensor = self.shortcut(x, torch.zeros_like(branch)) if self.shortcut.passes else self.shortcut.match(x)
        return alone


@contextmanager
def without_branch(block: nn.Module) -> Iterator[None]:
    """Take the branch out of a block, and put it back."""
    shortcut = block.shortcut
    block.shortcut = Alone(shortcut)
    try:
        yield
    finally:
        block.shortcut = shortcut
