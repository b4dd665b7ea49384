"""Expand overrides into the configs of a sweep: every combination of their values, counted before any is composed.

Hydra composes once for each combination of groups' choices. The values of plain keys are then set by the function that ends
Hydra's own composition, so that every config equals that of `hydra.compose`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep, Transformer, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.conf import GROUPS, choices_of, conf_folder
from harness.config.registry import ChoiceError, shown, unknown
from harness.planning.arguments import error_message, parse_override

MOST_RUNS = 100_000
"""The most combinations of one sweep; a report of so many runs takes hours."""


class Product:
    """Every combination of the overrides' values; those of the last override vary fastest.

    The constructor raises ChoiceError, before it expands anything, if a key has no value or if there are more than `most`
    combinations.
    """

    def __init__(self, overrides: Sequence[Override], most: int = MOST_RUNS) -> None:
        by_key = {override.key_or_group: override for override in overrides}  # the last one of a key, in the place of the first
        self.overrides = list(by_key.values())
        self.count = math.prod(count(override) for override in self.overrides)
        if self.count > most:
            swept = " ".join(shown(override.input_line) for override in self.overrides if override.is_sweep_override())
            size = f"{self.count:,}" if self.count < 10**15 else "more than 10^15"
            raise ChoiceError(f"{swept}: asks for {size} combinations; at most {most:,} are allowed")
        self._axes = [single_values(override, most) for override in self.overrides]
        for override, axis in zip(self.overrides, self._axes, strict=True):
            if override.key_or_group in GROUPS:
                for value in axis:
                    check_group(override.key_or_group, value)

    def compose(self) -> Iterator[dict[str, Any]]:
        """Yield the config of every combination as plain values; raises ChoiceError for one that cannot be composed."""
        bases: dict[tuple[str, ...], DictConfig] = {}
        for job in itertools.product(*self._axes):
            groups = tuple(str(override.input_line) for override in job if override.key_or_group in GROUPS)
            if groups not in bases:
                bases[groups] = compose_config("config", groups)
                OmegaConf.set_struct(bases[groups].plugin, False)  # which plugins add keys to
            values = [override for override in job if override.key_or_group not in GROUPS]
            given = [f"{override.key_or_group}={override.value()}" for override in values]
            with choice_errors(" ".join(line for line in given if "${" in line)):
                # every job sets the same keys, so that nothing of the previous one is left
                ConfigLoaderImpl._apply_overrides_to_config(values, bases[groups])
                container = OmegaConf.to_container(bases[groups], resolve=True)
            yield cast(dict[str, Any], container)


def compose_config(name: str, overrides: Sequence[str], **options: bool) -> DictConfig:
    """Compose a config from conf/ by Hydra; raises ChoiceError if that fails."""
    with choice_errors(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(name, list(overrides), **options)


@contextmanager
def choice_errors(given: str = "") -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf into ChoiceError; the message begins with the overrides `given`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise ChoiceError(f"{shown(given)}: {error_message(error)}" if given else error_message(error)) from error


def count(override: Override) -> int:
    """Return the number of values of an override, without expanding them; raises ChoiceError if there are none."""
    line, value = shown(override.input_line), override.value()
    if isinstance(value, IntervalSweep):
        raise ChoiceError(f"{line}: an interval has no single values; type some, or search it by python -m harness.search")
    if isinstance(value, Glob):
        number = len(_matching(override, value))
    elif isinstance(value, RangeSweep):
        number = _length(line, value.start or 0, value.stop or 0, value.step)
    else:
        number = len(value.list) if isinstance(value, ChoiceSweep) else 1
    if not number:
        raise ChoiceError(f"{line}: has no value")
    return number


def _length(line: str, start: float, stop: float, step: float) -> int:
    for bound in (start, stop, step):
        if isinstance(bound, float) and not math.isfinite(bound):
            raise ChoiceError(f"{line}: the bounds and the step of a range must be finite numbers")
    if not step:
        raise ChoiceError(f"{line}: the step of a range must not be 0")
    if all(isinstance(bound, int) for bound in (start, stop, step)):
        return max(0, -int((start - stop) // step))
    return max(0, math.ceil((Decimal(stop) - Decimal(start)) / Decimal(step)))


def _matching(override: Override, pattern: Glob) -> list[str]:
    if override.key_or_group not in GROUPS:
        raise ChoiceError(f"{shown(override.input_line)}: glob is for {', '.join(GROUPS)}")
    return pattern.filter(choices_of(override.key_or_group))


def single_values(override: Override, most: int = MOST_RUNS) -> list[Override]:
    """Return an override for each value, as Hydra parses it for a single job."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, Glob):
        return [parse_override(f"{key}={name}") for name in _matching(override, value)]
    if not override.is_sweep_override():
        return [parse_override(f"{key}={override.get_value_element_as_str()}")]
    values = list(itertools.islice(override.sweep_iterator(), most + 1))
    if len(values) > most:
        raise ChoiceError(f"{shown(override.input_line)}: has more values than floating-point numbers can distinguish")
    return [_element(override, value) for value in values]


def _element(override: Override, value: object) -> Override:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return replace(override, value_type=ValueType.ELEMENT, _value=value, input_line=f"{override.key_or_group}={value}")
    return parse_override(f"{override.key_or_group}={Transformer.str(cast(Any, value))}")


def check_group(group: str, override: Override) -> None:
    """Raise ChoiceError for a choice that is not in conf/."""
    names, value = choices_of(group), override.value()
    if not isinstance(value, str) or value not in names:
        raise unknown(group, value, names)
