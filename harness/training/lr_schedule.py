"""The learning rate at a step: a pure function of the schedule (He et al. 2015, section 4.2)."""

from __future__ import annotations

from harness.config.schedule import ScheduleConfig, Warmup

WARMUP_WINDOW = 50
"""Training batches over which the error that ends an `until_error` warm-up is averaged."""


def evaluated(schedule: ScheduleConfig, per_epoch: int, step: int) -> bool:
    """Return whether the net is evaluated after `step` updates (from 1): every epoch or `eval_every`, and at the milestones."""
    every = schedule.eval_every or per_epoch
    return step % every == 0 or step == schedule.steps or step in schedule.milestone_steps()


def learning_rate(schedule: ScheduleConfig, step: int, warmup_end: int | None) -> float:
    """Return the learning rate of the update that follows `step` updates (the first is at step 0).

    `warmup_end` is the step from which the warm-up is over, None while it lasts. After it the rate is the full one,
    a tenth of it from the first milestone, a hundredth from the second: a warm-up delays no milestone.
    """
    if warmup_end is None or step < warmup_end:
        return schedule.warmup_learning_rate
    passed = sum(step >= milestone for milestone in schedule.milestone_steps())
    return schedule.learning_rate / 10.0**passed


def fixed_warmup_end(schedule: ScheduleConfig) -> int | None:
    """Return the step from which the warm-up is over where that is known beforehand, else None."""
    return None if schedule.warmup is Warmup.until_error else schedule.warmup_limit()


def warmup_fires(schedule: ScheduleConfig, step: int, recent_errors: list[float]) -> bool:
    """Return whether an `until_error` warm-up is over after `step` updates.

    `recent_errors` are the errors of the training batches so far, in percent, newest last; the mean of the last 50
    decides once there are 50, and `warmup_max_steps` ends the wait.
    """
    if step >= schedule.warmup_limit():
        return True
    window = recent_errors[-WARMUP_WINDOW:]
    return len(window) == WARMUP_WINDOW and sum(window) / WARMUP_WINDOW < schedule.warmup_error
