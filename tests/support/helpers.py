"""Configs of runs that take seconds."""

from dataclasses import replace

import pytest

from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.planning.arguments import parse
from harness.planning.expansion import Product
from harness.planning.sweep import from_composed

TINY = ScheduleConfig(steps=12, batch_size=32, learning_rate=0.02, eval_every=6)
KEYS = [
    "width=4",
    "device=cpu",
    "schedule.steps=12",
    "schedule.batch_size=32",
    "schedule.learning_rate=0.02",
    "schedule.eval_every=6",
]
"""The overrides of a `tiny` run on the command line, but for its depth."""


def keys(*given):
    """Return the overrides `given`, and those of KEYS for other keys."""
    own = {override.split("=")[0] for override in given}
    return [*given, *(override for override in KEYS if override.split("=")[0] not in own)]


def rarely(*values):
    """Return the values as parameters of tests that only `make soak` runs, since others of their kind are tested every time."""
    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.soak) for value in values]


def tiny(**choices):
    """Return a config with 8 layers, 4 channels and 12 steps of batch 32 on digits, updated by `choices`."""
    return RunConfig(**({"depth": 8, "width": 4, "device": "cpu", "schedule": TINY} | choices))


def tiny_schedule(**choices):
    return replace(TINY, **choices)


def configs_of(overrides):
    """Return the config of every combination of the overrides."""
    return [from_composed(values)[0] for values in Product(parse(overrides)).compose()]
