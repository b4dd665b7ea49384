"""A data set and two probes that only the lab's runs use, registered like a user's plugin (plugins=[harness.lab.plugin])."""

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
    """The digits with their training labels shuffled once, so that every image has to be memorised."""

    @staticmethod
    def read(config: DataConfig) -> Arrays:
        arrays = Digits.read(config)
        generator = np.random.Generator(np.random.PCG64(stream_seed(0, "random labels")))
        return Arrays(arrays.train_images, generator.permutation(arrays.train_labels), arrays.test_images, arrays.test_labels)


@PROBE.register("modes")
class Modes:
    """Loss of the step's batch in evaluation mode before the update; steps.csv has it in training mode, with the same weights."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        evaluation = evaluate(context.model, [(context.images, context.labels)], nullcontext())
        yield [{"step": context.step, "evaluation_loss": evaluation.loss}]


@PROBE.register("shortcut_lesions")
class ShortcutLesions:
    """Loss and error on the test images after training, without each block's shortcut; block 0 is without all of them."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        rows: list[ProbeRow] = []
        yield rows
        if context.step < context.steps:
            return
        blocks = [(block.number, block.module) for block in context.blocks if hasattr(block.module, "shortcut")]
        for number, removed in [(0, [module for _, module in blocks]), *((n, [module]) for n, module in blocks)]:
            with without_shortcuts(removed):
                evaluation = context.evaluate()
            rows.append({"step": context.step, "block": number, "test_loss": evaluation.loss, "test_error": evaluation.error})


class NoShortcut(nn.Module):
    """Returns only the branch."""

    def __init__(self, shortcut: Any) -> None:
        super().__init__()
        self.projects = shortcut.projects

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


@contextmanager
def without_shortcuts(blocks: list[Any]) -> Iterator[None]:
    """Remove the shortcuts of blocks for the time of the context."""
    shortcuts = [block.shortcut for block in blocks]
    for block in blocks:
        block.shortcut = NoShortcut(block.shortcut)
    try:
        yield
    finally:
        for block, shortcut in zip(blocks, shortcuts, strict=True):
            block.shortcut = shortcut
