"""The optimizers of runs. A plugin adds one with `@OPTIMIZER.register(NAME)` on a function of the same signature as `sgd`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.config.registry import OPTIMIZER
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig

Groups = list[dict[str, Any]]
"""Parameter groups as torch.optim takes them: `params` and `weight_decay`."""


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a run over all parameters of `model`."""
    optimizer: torch.optim.Optimizer = OPTIMIZER[config.optimizer](parameter_groups(model, config.schedule), config)
    return optimizer


def parameter_groups(model: nn.Module, schedule: ScheduleConfig) -> Groups:
    """Return the parameters with their weight decay; with decay_norm=false only tensors of two or more dimensions decay."""
    parameters = list(model.parameters())
    free = [] if schedule.decay_norm else [parameter for parameter in parameters if parameter.ndim < 2]
    decayed = [parameter for parameter in parameters if all(parameter is not other for other in free)]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}]
    return [*groups, {"params": free, "weight_decay": 0.0}] if free else groups


@OPTIMIZER.register("sgd")
def sgd(groups: Groups, config: RunConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=config.schedule.learning_rate, momentum=config.schedule.momentum, fused=True)


@OPTIMIZER.register("adamw")
def adamw(groups: Groups, config: RunConfig) -> torch.optim.Optimizer:
    schedule = config.schedule
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(schedule.momentum, schedule.beta2), fused=True)
