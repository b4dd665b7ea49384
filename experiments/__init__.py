"""Named sweeps, what they claim, and the figures that show it: one module each, named like its conf/experiment/NAME.yaml."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from harness import plots
from harness.analysis.tables import Tables
from harness.claims.claim import Claim, Experiment

UNNAMED = Experiment("", plots.ALL)
"""What a sweep without an experiment gets: every picture that its tables allow; it is judged by all claims."""


@cache
def registry() -> dict[str, Experiment]:
    """Return every experiment by name: those that a module of this package declares as EXPERIMENT."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = {name: getattr(import_module(f"{__name__}.{name}"), "EXPERIMENT", None) for name in names}
    return {name: one for name, one in found.items() if isinstance(one, Experiment)}


def find(name: str) -> Experiment:
    """Return the experiment `name`; a sweep of another name is unnamed."""
    return registry().get(name, UNNAMED)


def all_claims() -> tuple[Claim, ...]:
    """Return every registered claim, each once, by the order of experiments and of their claims."""
    return tuple({claim.id: claim for experiment in registry().values() for claim in experiment.claims}.values())


def claims_of(tables: Tables) -> tuple[Claim, ...]:
    """Return the claims that judge a sweep: its experiment's, or every registered one."""
    return find(str(tables.about.get("experiment", "none"))).claims or all_claims()
