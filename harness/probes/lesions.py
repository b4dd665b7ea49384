"""The probe `lesions`: the trained net without one block at a time (Veit et al. 2016, arXiv:1605.06431, section 4.1).

A residual block keeps its shortcut; a plain block is replaced by the identity in the branch's shape (option A). Operations
after the addition stay in both cases. A transition of family densenet has no branch and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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


def without_branch(block: nn.Module) -> RemovableHandle:
    """Return a context manager that removes the branch of a block, and restores it on exit."""

    def replace_branch(shortcut: Any, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return zeros in place of the branch or, if the shortcut does not pass x, x in the branch's shape."""
        x, branch = inputs
        return x, torch.zeros_like(branch) if shortcut.passes else shortcut.match(x)

    return block.get_submodule("shortcut").register_forward_pre_hook(replace_branch)
