"""The learning rate at a step, a pure function of the schedule.

A plugin adds a schedule with `@LR_SCHEDULE.register(NAME)` on a function of the same signature as `steps`.
"""

from __future__ import annotations

import math

from harness.config.registry import LR_SCHEDULE
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig, Warmup

WARMUP_WINDOW = 50
"""Training batches over which the error that ends an `until_error` warm-up is averaged."""


def evaluation_due(schedule: ScheduleConfig, per_epoch: int, step: int) -> bool:
    """Return whether to evaluate after `step` updates: every epoch or `eval_every` steps, at the milestones and at the end."""
    every = schedule.eval_every or per_epoch
    return step % every == 0 or step == schedule.steps or step in schedule.milestone_steps()


def learning_rate(config: RunConfig, step: int, warmup_end: int | None) -> float:
    """Return the learning rate of the update after `step` completed updates (the first is at step 0).

    Args:
        warmup_end: the step at which the warm-up ends, None while that is unknown. A warm-up does not delay milestones.
    """
    schedule = config.schedule
    if warmup_end is None or step < warmup_end:
        if schedule.warmup is Warmup.linear:
            progress = step / schedule.warmup_steps
            return schedule.warmup_learning_rate + (schedule.learning_rate - schedule.warmup_learning_rate) * progress
        return schedule.warmup_learning_rate
    return float(LR_SCHEDULE[config.lr_schedule](schedule, step, warmup_end))


@LR_SCHEDULE.register("steps")
def steps(schedule: ScheduleConfig, step: int, warmup_end: int) -> float:
    """Divide the rate by 10 at each milestone (He et al. 2015, section 4.2)."""
    passed = sum(step >= milestone for milestone in schedule.milestone_steps())
    return schedule.learning_rate / 10.0**passed


@LR_SCHEDULE.register("cosine")
def cosine(schedule: ScheduleConfig, step: int, warmup_end: int) -> float:
    """Follow half a cosine from the full rate to 0 (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, one period)."""
    progress = (step - warmup_end) / max(1, schedule.steps - warmup_end)
    return schedule.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def fixed_warmup_end(schedule: ScheduleConfig) -> int | None:
    """Return the step at which the warm-up ends, or None if the training error decides."""
    return None if schedule.warmup is Warmup.until_error else schedule.warmup_limit()


def warmup_ends(schedule: ScheduleConfig, step: int, recent_errors: list[float]) -> bool:
    """Return whether an `until_error` warm-up ends after `step` updates.

    Args:
        recent_errors: errors of the last WARMUP_WINDOW training batches in percent, fewer if there were fewer. Their mean decides
            once there are WARMUP_WINDOW, and `warmup_max_steps` ends the warm-up at the latest.
    """
    if step >= schedule.warmup_limit():
        return True
    return len(recent_errors) == WARMUP_WINDOW and sum(recent_errors) / WARMUP_WINDOW < schedule.warmup_error
