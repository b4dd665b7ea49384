"""The small runs behind the lab's answers: their choices, their training, and their records by name and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config.blocks import Order
from harness.config.data import DataConfig
from harness.config.launcher import LauncherConfig
from harness.config.network import Family
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.lab import matching, plugin
from harness.launching.launch import prepare, run_sweep
from harness.planning.sweep import Sweep
from harness.records import paths
from harness.records.run import Run

SEEDS = (0, 1, 2)
SCHEDULE = ScheduleConfig(steps=250, batch_size=64, learning_rate=0.01, eval_every=50)
FIRST_STEPS = replace(SCHEDULE, steps=10, eval_every=10)
"""For gradients at initialisation and just after."""
RATES = (0.01, 0.03, 0.1)
NARROW = 8
"""Channels of the first stage of the narrow nets."""
RANDOM_LABELS = {
    "data": DataConfig("digits_random", augment=False),
    "schedule": replace(SCHEDULE, steps=500, learning_rate=0.05, eval_every=250),
}
"""Random labels take longer to learn."""
DENSE = {"parameters": "dense, equal parameters", "flops": "dense, equal FLOPs"}
"""Names of the DenseNets by the quantity in which they equal the narrow residual net."""

Choices = dict[str, Any]
Plan = Mapping[str, Mapping[int, RunConfig]]
"""Configs by name and seed."""
Records = Mapping[str, Mapping[int, Run]]
"""Finished runs by name and seed."""


class RunsFailed(RuntimeError):
    """Runs ended without a result; the message names each and gives its error."""


def plan(seeds: Sequence[int] = SEEDS, steps: int | None = None) -> Plan:
    """Return the lab's runs; `steps` replaces the length of each."""
    return {name: {seed: _config(choices, seed, steps) for seed in seeds} for name, choices in _choices().items()}


def train(planned: Plan, results: Path) -> Records:
    """Train the runs that are not finished yet, one per core at a time; return the records of all.

    Raises KeyboardInterrupt if stopped, with everything saved, and RunsFailed if a run ended without a result.
    """
    configs = {config.run_name(): config for by_seed in planned.values() for config in by_seed.values()}
    sweep = Sweep(tuple(configs.values()), "lab", LauncherConfig("local", "auto"), results, "python -m harness.lab")
    if not run_sweep(prepare(sweep), sweep):
        raise KeyboardInterrupt
    runs = {name: Run(paths.run_folder(results, name)) for name in configs}
    if failed := [run for run in runs.values() if not run.finished()]:
        raise RunsFailed("; ".join(f"{run.name}: {run.state} {run.status.get('error', '')}".strip() for run in failed))
    return {name: {seed: runs[config.run_name()] for seed, config in by_seed.items()} for name, by_seed in planned.items()}


def _choices() -> dict[str, Choices]:
    """Return the choices of each run by name, without SCHEDULE and defaults."""
    probes = ("layers", "blocks", "lesions", "modes", "shortcut_lesions")
    runs: dict[str, Choices] = {}
    for depth in (20, 56):
        for shortcut in ("none", "identity"):
            net = {"depth": depth, "shortcut": shortcut}
            runs[f"{shortcut}-{depth}"] = net | ({"probes": probes} if depth == 20 else {})
            runs[f"{shortcut}-{depth}-bare"] = net | {"norm": "none", "schedule": FIRST_STEPS}
        runs[f"preactivation-{depth}"] = {"depth": depth, "order": Order.preactivation}
    runs["projection-20"] = {"shortcut": "projection"}
    runs["bottleneck-29"] = {"depth": 29, "block": "bottleneck"}
    narrow: Choices = {"width": NARROW}
    nets: dict[str, Choices] = {"identity-20-narrow": narrow}
    for quantity, name in DENSE.items():
        growth = matching.nearest_growth(RunConfig(**narrow, schedule=SCHEDULE, device="cpu"), quantity)
        nets[name] = {"family": Family.densenet, "depth": matching.DEPTH, "growth": growth}
    runs |= nets | {f"{name}, random labels": net | RANDOM_LABELS for name, net in nets.items()}
    runs["none-20-narrow"] = narrow | {"shortcut": "none"}
    runs["preactivation-20-narrow"] = narrow | {"order": Order.preactivation}
    for norm in ("batch", "none"):
        for rate in RATES:
            schedule = replace(SCHEDULE, learning_rate=rate)
            runs[f"norm={norm}, rate={rate:g}"] = narrow | {"norm": norm, "schedule": schedule}
    return runs


def _config(choices: Choices, seed: int, steps: int | None) -> RunConfig:
    values: Choices = {"schedule": SCHEDULE} | choices
    config = RunConfig(**values, seed=seed, device="cpu", plugins=(plugin.__name__,))
    return config if steps is None else replace(config, schedule=replace(config.schedule, steps=steps, eval_every=steps))
