"""Experiments: named sweeps with their figures and claims. Each is a module named like its conf/experiment/NAME.yaml.

A plugin adds figures and claims with `register`; reports of sweeps that name it in `plugins` have them.
"""

from __future__ import annotations

import logging
import pkgutil
import sys
from dataclasses import replace
from functools import cache
from importlib import import_module

from harness import plots
from harness.analysis.tables import Tables
from harness.claims.claim import Claim, Experiment
from harness.config.plugins import load_plugin
from harness.config.registry import ChoiceError

log = logging.getLogger("harness")

UNNAMED = Experiment("", plots.ALL)
"""The experiment of an unnamed sweep: every figure that its tables allow, and all claims."""
_of_plugins: dict[str, Experiment] = {}


def register(experiment: Experiment) -> Experiment:
    """Add an experiment of the calling module: its pictures and claims are added to those of sweeps with this plugin."""
    _of_plugins[str(sys._getframe(1).f_globals["__name__"])] = experiment
    return experiment


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


def of_sweep(tables: Tables) -> Experiment:
    """Return the experiment of a sweep, with all claims if it has none of its own, extended by those of its plugins."""
    experiment = find(str(tables.about.get("experiment", "none")))
    experiment = replace(experiment, claims=experiment.claims or all_claims())
    for module in dict.fromkeys(module for run in tables.all_runs for module in run.config["plugins"]):
        try:
            load_plugin(module)
        except ChoiceError as error:
            log.warning("%s; its figures and claims are not in the report", error)
        if own := _of_plugins.get(module):
            experiment = Experiment(
                experiment.question or own.question, (*experiment.pictures, *own.pictures), (*own.claims, *experiment.claims)
            )
    return experiment
