"""The combinations of values that overrides ask for: counted first, then composed.

Hydra composes once for each combination of groups' choices; on the result the values of plain keys are set by the function
that Hydra's own composition ends with, so that every job's config is what `hydra.compose` gives for it.
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
from harness.launching.arguments import first_words, read

MOST_RUNS = 100_000
"""Combinations of one sweep; reports of so many take hours already."""


class Product:
    """The combinations of the values that overrides ask for, the last one's values varying fastest.

    Raises ChoiceError at construction where a key has no value at all, or where there are more than `most` combinations;
    nothing is expanded before that.
    """

    def __init__(self, overrides: Sequence[Override], most: int = MOST_RUNS) -> None:
        by_key = {override.key_or_group: override for override in overrides}  # of two the later, in the place of the first
        self.overrides = list(by_key.values())
        self.count = math.prod(count(override) for override in self.overrides)
        if self.count > most:
            swept = " ".join(shown(override.input_line) for override in self.overrides if override.is_sweep_override())
            size = f"{self.count:,}" if self.count < 10**15 else "more than 10^15"
            raise ChoiceError(f"{swept}: asks for {size} combinations; at most {most:,} can be asked for at a time")
        self._axes = [_single(override, most) for override in self.overrides]
        for override, axis in zip(self.overrides, self._axes, strict=True):
            if override.key_or_group in GROUPS:
                for one in axis:
                    check_group(override.key_or_group, one)

    def compose(self) -> Iterator[dict[str, Any]]:
        """Give the plain values of every combination's config; raises ChoiceError for what cannot be composed."""
        bases: dict[tuple[str, ...], DictConfig] = {}
        for job in itertools.product(*self._axes):
            groups = tuple(str(one.input_line) for one in job if one.key_or_group in GROUPS)
            if groups not in bases:
                bases[groups] = composed("config", groups)
                OmegaConf.set_struct(bases[groups].plugin, False)  # its keys are those of plugins
            values = [one for one in job if one.key_or_group not in GROUPS]
            with refused(" ".join(f"{one.key_or_group}={value}" for one in values if "${" in (value := str(one.value())))):
                # every job sets the same keys, so that nothing is left of the one before
                ConfigLoaderImpl._apply_overrides_to_config(values, bases[groups])
                container = OmegaConf.to_container(bases[groups], resolve=True)
            yield cast(dict[str, Any], container)


def composed(name: str, overrides: Sequence[str], **options: bool) -> DictConfig:
    """Return what Hydra composes from conf/; raises ChoiceError where it cannot."""
    with refused(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(name, list(overrides), **options)


@contextmanager
def refused(given: str = "") -> Iterator[None]:
    """Raise as ChoiceError what Hydra and OmegaConf have to say of values that they cannot use, after what was `given`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise ChoiceError(f"{shown(given)}: {first_words(error)}" if given else first_words(error)) from error


def count(override: Override) -> int:
    """Return how many values an override gives its key, without expanding them; raises ChoiceError where there are none."""
    line, value = shown(override.input_line), override.value()
    if isinstance(value, IntervalSweep):
        raise ChoiceError(f"{line}: an interval has no single values; give some, or a range(START,STOP,STEP)")
    if isinstance(value, Glob):
        found = len(_matching(override, value))
    elif isinstance(value, RangeSweep):
        found = _length(line, value.start or 0, value.stop or 0, value.step)
    else:
        found = len(value.list) if isinstance(value, ChoiceSweep) else 1
    if not found:
        raise ChoiceError(f"{line}: has no value")
    return found


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


def _single(override: Override, most: int) -> list[Override]:
    """Return an override for each of the values, as Hydra reads them in the job that they are for."""
    key, value = override.key_or_group, override.value()
    if isinstance(value, Glob):
        return [read(f"{key}={name}") for name in _matching(override, value)]
    if not override.is_sweep_override():
        return [read(f"{key}={override.get_value_element_as_str()}")]
    values = list(itertools.islice(override.sweep_iterator(), most + 1))
    if len(values) > most:
        raise ChoiceError(f"{shown(override.input_line)}: has more values than numbers of so many digits can tell apart")
    return [_element(override, value) for value in values]


def _element(override: Override, value: object) -> Override:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return replace(override, value_type=ValueType.ELEMENT, _value=value, input_line=f"{override.key_or_group}={value}")
    return read(f"{override.key_or_group}={Transformer.str(cast(Any, value))}")


def check_group(group: str, override: Override) -> None:
    """Raise ChoiceError for a choice that conf/ does not have."""
    names, value = choices_of(group), override.value()
    if not isinstance(value, str) or value not in names:
        raise unknown(group, value, names)
