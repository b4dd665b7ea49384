"""Loss and error of a net on images it is not being trained on at that moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 500
LARGE = 64
"""Side in pixels above which a batch of evaluation has fewer images."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats and error in percent."""

    loss: float
    error: float


def batch_size(side: int) -> int:
    """Return the number of images, `side` pixels wide, in a batch of evaluation; it changes no result beyond rounding."""
    return max(1, BATCH * LARGE**2 // max(side, LARGE) ** 2)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: AbstractContextManager[object]) -> Evaluation:
    """Return the evaluation over `batches` of (images [B, C, H, W], labels [B]), in evaluation mode.

    The model's mode is left as it was, and no forward hook is called: who watches a training step sees that alone. An image whose
    logits are not finite counts as wrong.
    """
    training = model.training
    model.eval()
    losses, wrong, count = [], [], 0
    with _unseen(model):
        for images, labels in batches:
            with precision:
                logits = model(images)
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="sum").double())
            wrong.append(wrong_answers(logits, labels).double())
            count += len(labels)
    model.train(training)
    loss, error = torch.stack([torch.stack(losses).sum(), torch.stack(wrong).sum()]).tolist()
    return Evaluation(loss / count, 100.0 * error / count)


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
    """Return how many of the largest logits [B, classes] do not point at the label [B]."""
    right = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return len(labels) - right.sum()
