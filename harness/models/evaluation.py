"""Loss and error of a net on images it is not being trained on at that moment."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

BATCH = 500
LARGE = 64
"""Side in pixels above which a batch of evaluation has fewer images."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats and error in percent; a loss that is not finite makes the error that of no classifier."""

    loss: float
    error: float

    @property
    def finite(self) -> bool:
        """Whether the net gave every image a finite answer."""
        return math.isfinite(self.loss)


def batch_size(side: int) -> int:
    """Return the number of images, `side` pixels wide, in a batch of evaluation; it changes no result beyond rounding."""
    return max(1, BATCH * LARGE**2 // max(side, LARGE) ** 2)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: AbstractContextManager[object]) -> Evaluation:
    """Return the evaluation over `batches` of (images [B, C, H, W], labels [B]), in evaluation mode.

    The model's mode is left as it was, and no forward hook is called: who watches a training step sees that alone. The loss is
    not finite where the logits of any image are not.
    """
    losses, wrong, count = [], [], 0
    with _unseen(model), _in_evaluation_mode(model):
        for images, labels in batches:
            with precision:
                logits = model(images)
            overflow = torch.where(torch.isfinite(logits).all(), 0.0, math.nan)  # one of -inf would leave the loss finite
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="sum").double() + overflow)
            wrong.append(wrong_answers(logits, labels).double())
            count += len(labels)
    loss, error = torch.stack([torch.stack(losses).sum(), torch.stack(wrong).sum()]).tolist()
    return Evaluation(loss / count, 100.0 * error / count)


@torch.no_grad()
def estimate_norms(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: AbstractContextManager[object]) -> None:
    """Replace the running statistics of every batch normalisation by the mean of those of `batches`, all of one size.

    That is PreciseBN of Wu and Johnson 2021 (arXiv:2105.07576, section 3). Only the norms are in training mode: what else differs
    there, as dropout, acts as in the evaluation that follows, and draws no random numbers. Mode and hooks as in `evaluate`.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with _unseen(model), _in_evaluation_mode(model):
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean of all batches, each of equal weight
                norm.train()
            for images, _ in batches:
                with precision:
                    model(images)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


@contextmanager
def _in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _unseen(model: nn.Module) -> Iterator[None]:
    kept = [(module, module._forward_hooks) for module in model.modules()]
    for module, _ in kept:
        module._forward_hooks = OrderedDict()
    try:
        yield
    finally:
        for module, hooks in kept:
            module._forward_hooks = hooks


def wrong_answers(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many of the largest logits [B, classes] do not point at the label [B]; those that are not finite never do."""
    right = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return len(labels) - right.sum()
