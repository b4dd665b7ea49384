"""How long and how fast a run trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from harness.config.registry import ChoiceError, shown
from harness.config.validation import assign, flag, member, real, whole


class Warmup(str, Enum):
    """How training begins: at the full rate; at a low rate for a fixed count of steps, or until the training error falls
    below a bound; or with a rate that rises linearly over a fixed count of steps.
    """

    none = "none"
    steps = "steps"
    linear = "linear"
    until_error = "until_error"


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and how fast to train; the defaults are those of He et al. 2015, section 4.2, for CIFAR-10.

    In a `RunConfig`, what was not given here follows its data. (`dataclasses.replace` gives every key.)
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
        whole("schedule.steps", self.steps, 1)
        whole("schedule.batch_size", self.batch_size, 1)
        rate = real("schedule.learning_rate", self.learning_rate, above=0)
        warmup = member("schedule.warmup", self.warmup, Warmup)
        warmup_rate = real("schedule.warmup_learning_rate", self.warmup_learning_rate, above=0)
        error = real("schedule.warmup_error", self.warmup_error, above=0, most=100)
        momentum = real("schedule.momentum", self.momentum, least=0, below=1)
        beta2 = real("schedule.beta2", self.beta2, least=0, below=1)
        decay = real("schedule.weight_decay", self.weight_decay, least=0)
        flag("schedule.decay_norm", self.decay_norm)
        whole("schedule.warmup_steps", self.warmup_steps, 1)
        for key in ("warmup_max_steps", "eval_every", "eval_images", "precise_norm"):
            if getattr(self, key) is not None:
                whole(f"schedule.{key}", getattr(self, key), 1)
        ends = "steps" in self.__dict__["_given"]  # else only the data say when
        if ends and warmup in (Warmup.steps, Warmup.linear) and self.warmup_steps >= self.steps:
            raise ChoiceError(f"schedule.warmup_steps={self.warmup_steps}: must be below schedule.steps={self.steps}")
        if ends and warmup is Warmup.until_error and (self.warmup_max_steps or 0) > self.steps:
            raise ChoiceError(f"schedule.warmup_max_steps={self.warmup_max_steps}: must be at most schedule.steps={self.steps}")
        assign(
            self,
            learning_rate=rate,
            milestones=self._checked_milestones(),
            warmup=warmup,
            warmup_learning_rate=warmup_rate,
            warmup_error=error,
            momentum=momentum,
            beta2=beta2,
            weight_decay=decay,
        )

    def _checked_milestones(self) -> tuple[int, ...] | None:
        """Return the milestones in one form, so that equal schedules are equal: None where they are the default."""
        if self.milestones is None:
            return None
        if isinstance(self.milestones, str | Mapping) or not hasattr(self.milestones, "__iter__"):
            raise ChoiceError(f"schedule.milestones={shown(self.milestones)}: must be a list of steps, [] or null")
        steps = list(self.milestones)
        for step in steps:
            whole("schedule.milestones", step, 1)
            if step >= self.steps and "steps" in self.__dict__["_given"]:
                raise ChoiceError(f"schedule.milestones={shown(steps)}: {step} is past the end, schedule.steps={self.steps}")
        if steps != sorted(set(steps)):
            raise ChoiceError(f"schedule.milestones={shown(steps)}: must rise")
        return None if tuple(steps) == self._default_milestones() else tuple(steps)

    def _default_milestones(self) -> tuple[int, ...]:
        return default_milestones(self.steps)

    def milestone_steps(self) -> tuple[int, ...]:
        """Return the steps at which the learning rate falls to a tenth; 1/2 and 3/4 of `steps` unless given."""
        return self._default_milestones() if self.milestones is None else self.milestones

    def following(self, base: ScheduleConfig) -> ScheduleConfig:
        """Return `base` with what was given here in its place; it can be made to follow another base again."""
        found = replace(base, **(given := self.__dict__["_given"]))
        assign(found, _given=given)
        return found

    def in_force(self) -> ScheduleConfig:
        """Return the schedule with the parameters that its kind of warm-up does not use at their defaults."""
        idle = {
            Warmup.none: ("warmup_learning_rate", "warmup_steps", "warmup_error", "warmup_max_steps"),
            Warmup.steps: ("warmup_error", "warmup_max_steps"),
            Warmup.linear: ("warmup_error", "warmup_max_steps"),
            Warmup.until_error: ("warmup_steps",),
        }[self.warmup]
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in idle}
        return replace(self, **defaults)

    def warmup_limit(self) -> int:
        """Return the step by which a warm-up has ended, whatever the error."""
        if self.warmup is Warmup.none:
            return 0
        if self.warmup in (Warmup.steps, Warmup.linear):
            return self.warmup_steps
        first = self.milestone_steps()[0] if self.milestone_steps() else self.steps
        return first if self.warmup_max_steps is None else self.warmup_max_steps


def default_milestones(steps: int) -> tuple[int, ...]:
    """Return the milestones of a schedule that names none: at 1/2 and 3/4 of its steps."""
    return tuple(sorted({step for step in (steps // 2, steps * 3 // 4) if step > 0}))
