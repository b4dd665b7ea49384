"""The small runs that the lab's answers rest on: which they are, how they are trained, and their records by name and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config.data import DataConfig
from harness.config.network import Family, Order
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.lab import matching, plugin
from harness.launching.launch import carry_out_all, start
from harness.launching.sweep import Sweep
from harness.records import paths
from harness.records.run import Run

SEEDS = (0, 1, 2)
SCHEDULE = ScheduleConfig(steps=250, batch_size=64, learning_rate=0.01, eval_every=50)
FIRST_STEPS = replace(SCHEDULE, steps=10, eval_every=10)
"""For gradients at initialisation and just after."""
RATES = (0.01, 0.03, 0.1)
NARROW = 8
"""Channels of the first stage of the narrow nets."""
MEMORISED = {
    "data": DataConfig("digits_random", augment=False),
    "schedule": replace(SCHEDULE, steps=500, learning_rate=0.05, eval_every=250),
}
"""Random labels, which take longer to learn."""
DENSE = {"parameters": "dense, equal parameters", "flops": "dense, equal FLOPs"}
"""The DenseNets by what they have in common with the narrow residual net."""

Choices = dict[str, Any]
Plan = Mapping[str, Mapping[int, RunConfig]]
"""The configs by name and seed."""
Records = Mapping[str, Mapping[int, Run]]
"""The finished runs by name and seed."""


class RunsFailed(RuntimeError):
    """Runs that came to no result; the message names them and says why."""


def plan(seeds: Sequence[int] = SEEDS, steps: int | None = None) -> Plan:
    """Return the lab's runs; `steps` replaces the length of each."""
    return {name: {seed: _of(choices, seed, steps) for seed in seeds} for name, choices in _choices().items()}


def carry_out(planned: Plan, results: Path) -> Records:
    """Train what is not there yet, as many at a time as there are cores; return the records.

    Raises KeyboardInterrupt where it was stopped, everything saved, and RunsFailed where a run came to no result.
    """
    configs = {config.run_name(): config for by_seed in planned.values() for config in by_seed.values()}
    sweep = Sweep(tuple(configs.values()), "lab", results, "python -m harness.lab")
    if not carry_out_all(start(sweep), sweep, []):
        raise KeyboardInterrupt
    runs = {name: Run(paths.run_folder(results, name)) for name in configs}
    if failed := [run for run in runs.values() if not run.finished()]:
        raise RunsFailed("; ".join(f"{run.name}: {run.state} {run.status.get('error', '')}".strip() for run in failed))
    return {name: {seed: runs[config.run_name()] for seed, config in by_seed.items()} for name, by_seed in planned.items()}


def _choices() -> dict[str, Choices]:
    """Return what tells the runs apart, by name."""
    found: dict[str, Choices] = {}
    for depth in (20, 56):
        for shortcut in ("none", "identity"):
            found[f"{shortcut}-{depth}"] = {"depth": depth, "shortcut": shortcut}
            found[f"{shortcut}-{depth}-bare"] = found[f"{shortcut}-{depth}"] | {"norm": "none", "schedule": FIRST_STEPS}
        found[f"preactivation-{depth}"] = {"depth": depth, "order": Order.preactivation}
    for name in ("none-20", "identity-20"):
        found[name]["probes"] = ("layers", "blocks", "lesions", "modes", "shortcut_lesions")
    found["projection-20"] = {"shortcut": "projection"}
    found["bottleneck-29"] = {"depth": 29, "block": "bottleneck"}
    narrow: Choices = {"width": NARROW}
    nets: dict[str, Choices] = {"identity-20-narrow": narrow}
    for what, name in DENSE.items():
        growth = matching.nearest_growth(RunConfig(**narrow, schedule=SCHEDULE, device="cpu"), what)
        nets[name] = {"family": Family.densenet, "depth": matching.DEPTH, "growth": growth}
    found |= nets | {f"{name}, random labels": net | MEMORISED for name, net in nets.items()}
    found["none-20-narrow"] = narrow | {"shortcut": "none"}
    found["preactivation-20-narrow"] = narrow | {"order": Order.preactivation}
    for norm in ("batch", "none"):
        for rate in RATES:
            schedule = replace(SCHEDULE, learning_rate=rate)
            found[f"norm={norm}, rate={rate:g}"] = narrow | {"norm": norm, "schedule": schedule}
    return found


def _of(choices: Choices, seed: int, steps: int | None) -> RunConfig:
    given: Choices = {"schedule": SCHEDULE} | choices
    config = RunConfig(**given, seed=seed, device="cpu", plugins=(plugin.__name__,))
    return config if steps is None else replace(config, schedule=replace(config.schedule, steps=steps, eval_every=steps))
