"""The keys of the schedule: steps, batch size, learning rate, warm-up, weight decay and evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from harness.config.registry import ChoiceError, shown
from harness.config.validation import assign, check_flag, check_member, check_real, check_whole


class Warmup(str, Enum):
    """The learning rate at the beginning: the full rate; a low rate for a number of steps, or until the training error falls
    below a bound; or a rate that rises linearly for a number of steps.
    """

    none = "none"
    steps = "steps"
    linear = "linear"
    until_error = "until_error"


@dataclass(frozen=True)
class ScheduleConfig:
    """A schedule. The defaults are those of He et al. 2015, section 4.2, for CIFAR-10.

    In a `RunConfig`, keys that were not given follow the data. (`dataclasses.replace` gives every key.)
    """

    steps: int = 64_000
    batch_size: int = 128
    learning_rate: float = 0.1
    milestones: tuple[int, ...] | None = None
    warmup: Warmup = Warmup.none
    warmup_learning_rate: float = 0.01
    warmup_steps: int = 400
    warmup_error: float = 80.0
    warmup_max_steps: int | None = None
    momentum: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 1e-4
    decay_norm: bool = True
    eval_every: int | None = None
    eval_images: int | None = None
    precise_norm: int | None = None

    def __new__(cls, *values: Any, **named: Any) -> ScheduleConfig:
        self = super().__new__(cls)
        assign(self, _given={f.name: None for f, _ in zip(fields(cls), values, strict=False)} | dict.fromkeys(named))
        return self

    def __post_init__(self) -> None:
        if not isinstance(self.milestones, str | Mapping) and hasattr(self.milestones, "__iter__"):
            assign(self, milestones=tuple(self.milestones or ()))
        assign(self, _given={name: getattr(self, name) for name in self.__dict__["_given"]})
        check_whole("schedule.steps", self.steps, 1)
        check_whole("schedule.batch_size", self.batch_size, 1)
        assign(
            self,
            learning_rate=check_real("schedule.learning_rate", self.learning_rate, above=0),
            warmup=check_member("schedule.warmup", self.warmup, Warmup),
            warmup_learning_rate=check_real("schedule.warmup_learning_rate", self.warmup_learning_rate, above=0),
            warmup_error=check_real("schedule.warmup_error", self.warmup_error, above=0, most=100),
            momentum=check_real("schedule.momentum", self.momentum, least=0, below=1),
            beta2=check_real("schedule.beta2", self.beta2, least=0, below=1),
            weight_decay=check_real("schedule.weight_decay", self.weight_decay, least=0),
        )
        check_flag("schedule.decay_norm", self.decay_norm)
        check_whole("schedule.warmup_steps", self.warmup_steps, 1)
        for key in ("warmup_max_steps", "eval_every", "eval_images", "precise_norm"):
            if getattr(self, key) is not None:
                check_whole(f"schedule.{key}", getattr(self, key), 1)
        ends = "steps" in self.__dict__["_given"]  # otherwise they follow the data
        if ends and self.warmup in (Warmup.steps, Warmup.linear) and self.warmup_steps >= self.steps:
            raise ChoiceError(f"schedule.warmup_steps={self.warmup_steps}: must be below schedule.steps={self.steps}")
        if ends and self.warmup is Warmup.until_error and (self.warmup_max_steps or 0) > self.steps:
            raise ChoiceError(f"schedule.warmup_max_steps={self.warmup_max_steps}: must be at most schedule.steps={self.steps}")
        assign(self, milestones=self._checked_milestones())

    def _checked_milestones(self) -> tuple[int, ...] | None:
        """Return the milestones in canonical form, so that equal schedules compare equal: None if they are the default."""
        if self.milestones is None:
            return None
        if isinstance(self.milestones, str | Mapping) or not hasattr(self.milestones, "__iter__"):
            raise ChoiceError(f"schedule.milestones={shown(self.milestones)}: must be a list of steps, [] or null")
        steps = list(self.milestones)
        for step in steps:
            check_whole("schedule.milestones", step, 1)
            if step >= self.steps and "steps" in self.__dict__["_given"]:
                raise ChoiceError(f"schedule.milestones={shown(steps)}: {step} is past the end, schedule.steps={self.steps}")
        if steps != sorted(set(steps)):
            raise ChoiceError(f"schedule.milestones={shown(steps)}: must rise")
        return chosen_milestones(self.steps, steps)

    def milestone_steps(self) -> tuple[int, ...]:
        """Return the steps at which the learning rate falls to a tenth; 1/2 and 3/4 of `steps` unless given."""
        return default_milestones(self.steps) if self.milestones is None else self.milestones

    def following(self, base: ScheduleConfig) -> ScheduleConfig:
        """Return `base` with the keys that were given here. The result can follow another base later."""
        schedule = replace(base, **(given := self.__dict__["_given"]))
        assign(schedule, _given=given)
        return schedule

    def in_force(self) -> ScheduleConfig:
        """Return the schedule with the keys that its kind of warm-up does not use set to their defaults."""
        unused = {
            Warmup.none: ("warmup_learning_rate", "warmup_steps", "warmup_error", "warmup_max_steps"),
            Warmup.steps: ("warmup_error", "warmup_max_steps"),
            Warmup.linear: ("warmup_error", "warmup_max_steps"),
            Warmup.until_error: ("warmup_steps",),
        }[self.warmup]
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in unused}
        return replace(self, **defaults)

    def warmup_limit(self) -> int:
        """Return the step by which the warm-up has ended, whatever the error."""
        if self.warmup is Warmup.none:
            return 0
        if self.warmup in (Warmup.steps, Warmup.linear):
            return self.warmup_steps
        first = self.milestone_steps()[0] if self.milestone_steps() else self.steps
        return first if self.warmup_max_steps is None else self.warmup_max_steps


def chosen_milestones(steps: int, milestones: Sequence[int]) -> tuple[int, ...] | None:
    """Return milestones in canonical form: None if they are the default ones of a training of `steps` steps."""
    return None if tuple(milestones) == default_milestones(steps) else tuple(milestones)


def default_milestones(steps: int) -> tuple[int, ...]:
    """Return the default milestones: at 1/2 and 3/4 of the steps."""
    return tuple(sorted({step for step in (steps // 2, steps * 3 // 4) if step > 0}))
