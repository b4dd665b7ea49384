"""The optimizer of a run."""

from __future__ import annotations

import torch
from torch import nn

from harness.config.schedule import ScheduleConfig


def make_optimizer(model: nn.Module, schedule: ScheduleConfig) -> torch.optim.SGD:
    """Return SGD with momentum; weight decay on every parameter, or with decay_norm=false on weights of layers alone."""
    parameters = list(model.parameters())
    free = [] if schedule.decay_norm else [parameter for parameter in parameters if parameter.ndim < 2]
    decayed = [parameter for parameter in parameters if all(parameter is not other for other in free)]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, fused=True)
