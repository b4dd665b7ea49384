"""Loss and error of a net in evaluation mode."""

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
"""Side in pixels above which an evaluation batch has fewer images."""


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, and error in percent, which is meaningless if the loss is not finite."""

    loss: float
    error: float

    @property
    def finite(self) -> bool:
        """Whether the logits of every image, and the loss, are finite."""
        return math.isfinite(self.loss)


def batch_size(side: int) -> int:
    """Return the number of images of `side` pixels in an evaluation batch; it affects results only by rounding."""
    return max(1, BATCH * LARGE**2 // max(side, LARGE) ** 2)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: AbstractContextManager[object]) -> Evaluation:
    """Return loss and error over `batches` of (images [B, C, H, W], labels [B]), in evaluation mode.

    The model's mode is restored, and forward hooks are disabled, so probes never see evaluation passes. The loss is not finite
    if any logit is not. `precision` is entered around each forward pass.
    """
    losses, wrong, count = [], [], 0
    with _evaluation_mode(model):
        for images, labels in batches:
            with precision:
                logits = model(images)
            overflow = torch.where(torch.isfinite(logits).all(), 0.0, math.nan)  # a logit of -inf can leave the loss finite
            losses.append(functional.cross_entropy(logits.float(), labels, reduction="sum").double() + overflow)
            wrong.append(wrong_answers(logits, labels).double())
            count += len(labels)
    loss, error = torch.stack([torch.stack(losses).sum(), torch.stack(wrong).sum()]).tolist()
    return Evaluation(loss / count, 100.0 * error / count)


@torch.no_grad()
def estimate_norms(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: AbstractContextManager[object]) -> None:
    """Replace the running statistics of every batch norm by their mean over `batches`, which have equal sizes.

    PreciseBN of Wu and Johnson 2021 (arXiv:2105.07576, section 3). Only the norms are in training mode; other modules, such as
    dropout, behave as in the following evaluation and draw no random numbers. Mode and hooks are handled as in `evaluate`.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with _evaluation_mode(model):
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a cumulative mean: every batch has equal weight
                norm.train()
            for images, _ in batches:
                with precision:
                    model(images)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with forward_hooks_disabled(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def forward_hooks_disabled(model: nn.Module) -> Iterator[None]:
    """Disable the forward hooks of `model` and its submodules, so that probes see only training passes.

    PyTorch offers no switch for hooks that other code has registered. Their private dictionary `Module._forward_hooks`,
    which every call of a module reads in torch 2.5 to 2.14, is therefore replaced by an empty one.
    """
    hooks = [(module, module._forward_hooks) for module in model.modules()]
    for module, _ in hooks:
        module._forward_hooks = OrderedDict()
    try:
        yield
    finally:
        for module, registered in hooks:
            module._forward_hooks = registered


def wrong_answers(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how many images have a largest logit [B, classes] that is not at the label [B], or logits that are not finite."""
    correct = (logits.argmax(1) == labels) & torch.isfinite(logits).all(1)
    return len(labels) - correct.sum()
