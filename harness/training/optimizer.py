"""The optimizers of runs. A plugin adds one with `@OPTIMIZER.register(NAME)` on a function of the same signature as `sgd`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.config.registry import OPTIMIZER
from harness.config.run import RunConfig

Groups = list[dict[str, Any]]
"""Parameter groups as torch.optim takes them: `params` and `weight_decay`."""


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a run over all parameters; with decay_norm=false only tensors of two or more dimensions decay."""
    schedule, parameters = config.schedule, list(model.parameters())
    decayed = [parameter for parameter in parameters if schedule.decay_norm or parameter.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}]
    if len(decayed) < len(parameters):
        groups.append({"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0})
    optimizer: torch.optim.Optimizer = OPTIMIZER[config.optimizer](groups, config)
    return optimizer


@OPTIMIZER.register("sgd")
def sgd(groups: Groups, config: RunConfig) -> torch.optim.Optimizer:
    """Return SGD with momentum (He et al. 2015, section 4.2)."""
    return torch.optim.SGD(groups, lr=config.schedule.learning_rate, momentum=config.schedule.momentum, fused=True)


@OPTIMIZER.register("adamw")
def adamw(groups: Groups, config: RunConfig) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101); `momentum` is its beta1."""
    schedule = config.schedule
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(schedule.momentum, schedule.beta2), fused=True)
