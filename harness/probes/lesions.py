"""The probe `lesions`: the trained net without one block at a time (Veit et al. 2016, arXiv:1605.06431, section 4.1).

A residual block keeps its shortcut; a plain block is replaced by the identity in the branch's shape (option A). What follows the
addition stays in both cases. A transition of family densenet has no branch, and is left in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.config.registry import PROBE
from harness.probes.base import Context, ProbeRow


@PROBE.register("lesions")
class Lesions:
    """Each block at the end of training: loss and error on the test images without it."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        rows: list[ProbeRow] = []
        yield rows
        if context.step < context.steps:
            return
        for block in context.blocks:
            if hasattr(block.module, "shortcut"):
                with without_branch(block.module):
                    evaluation = context.evaluate()
                row = {"step": context.step, "block": block.number, "name": block.name, "stage": block.stage}
                rows.append(row | {"test_loss": evaluation.loss, "test_error": evaluation.error})


class ShortcutOnly(nn.Module):
    """A shortcut without its branch."""

    def __init__(self, shortcut: Any) -> None:
        super().__init__()
        self.shortcut, self.projects = shortcut, shortcut.projects

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return the shortcut's output for a zero branch or, if the shortcut does not pass x, x in the branch's shape."""
        output: Tensor = self.shortcut(x, torch.zeros_like(branch)) if self.shortcut.passes else self.shortcut.match(x)
        return output


@contextmanager
def without_branch(block: nn.Module) -> Iterator[None]:
    """Remove the branch of a block, and restore it on exit."""
    shortcut = block.shortcut
    block.shortcut = ShortcutOnly(shortcut)
    try:
        yield
    finally:
        block.shortcut = shortcut
