"""What the lab's runs need beyond the harness's own choices, added as a user's plugin adds it (plugins=[harness.lab.plugin])."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.config.data import DataConfig
from harness.config.registry import DATA, PROBE
from harness.config.seeds import stream_seed
from harness.data.datasets import Arrays, Digits
from harness.models.evaluation import evaluate
from harness.probes.base import Context, ProbeRow


@DATA.register("digits_random")
class RandomLabels(Digits):
    """The digits, their training labels shuffled once and for all: nothing to learn but each image by itself."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        arrays = Digits.read(config)
        generator = np.random.Generator(np.random.PCG64(stream_seed(0, "random labels")))
        return Arrays(arrays.train_images, generator.permutation(arrays.train_labels), arrays.test_images, arrays.test_labels)


@PROBE.register("modes")
class Modes:
    """The loss of the step's batch in evaluation mode, before the update; steps.csv has it in training mode, same weights."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        found = evaluate(context.model, [(context.images, context.labels)], nullcontext())
        yield [{"step": context.step, "evaluation_loss": found.loss}]


@PROBE.register("shortcut_lesions")
class ShortcutLesions:
    """Each block at the end of training: loss and error on the test images without its shortcut; block 0 is without all."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        rows: list[ProbeRow] = []
        yield rows
        if context.step < context.steps:
            return
        blocks = [(block.number, block.module) for block in context.blocks if hasattr(block.module, "shortcut")]
        for number, without in [(0, [module for _, module in blocks]), *((n, [module]) for n, module in blocks)]:
            with branches_alone(without):
                found = context.evaluate()
            rows.append({"step": context.step, "block": number, "test_loss": found.loss, "test_error": found.error})


class BranchAlone(nn.Module):
    """A shortcut cut off: what is left is the branch."""

    def __init__(self, shortcut: Any) -> None:
        super().__init__()
        self.projects = shortcut.projects

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


@contextmanager
def branches_alone(blocks: list[Any]) -> Iterator[None]:
    """Take the shortcuts out of blocks, and put them back."""
    kept = [block.shortcut for block in blocks]
    for block in blocks:
        block.shortcut = BranchAlone(block.shortcut)
    try:
        yield
    finally:
        for block, shortcut in zip(blocks, kept, strict=True):
            block.shortcut = shortcut
