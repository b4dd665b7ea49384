"""Experiments: named sweeps with their figures and claims. Each is a module named like its conf/experiment/NAME.yaml."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from harness import plots
from harness.analysis.tables import Tables
from harness.claims.claim import Claim, Experiment

UNNAMED = Experiment("", plots.ALL)
"""The experiment of an unnamed sweep: every figure that its tables allow, and all claims."""


@cache
def registry() -> dict[str, Experiment]:
    """Return every experiment by name: the EXPERIMENT of each module of this package that has one."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    experiments = {name: getattr(import_module(f"{__name__}.{name}"), "EXPERIMENT", None) for name in names}
    return {name: experiment for name, experiment in experiments.items() if isinstance(experiment, Experiment)}


def find(name: str) -> Experiment:
    """Return the experiment `name`, or UNNAMED if there is none."""
    return registry().get(name, UNNAMED)


def all_claims() -> tuple[Claim, ...]:
    """Return every claim once, in the order of experiments and of their claims."""
    return tuple({claim.id: claim for experiment in registry().values() for claim in experiment.claims}.values())


def claims_of(tables: Tables) -> tuple[Claim, ...]:
    """Return the claims to judge on a sweep: those of its experiment, or all of them."""
    return find(str(tables.about.get("experiment", "none"))).claims or all_claims()
