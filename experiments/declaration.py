"""What an experiment declares, and how it is found by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from harness import plots
from harness.plots import Picture


@dataclass(frozen=True)
class Experiment:
    """A question put to a sweep, and the pictures that its report shows first to last."""

    question: str
    pictures: tuple[Picture, ...]


UNNAMED = Experiment("", plots.ALL)
"""What a sweep without an experiment gets: every picture that its tables allow."""


def find(name: str) -> Experiment:
    """Return the experiment `name`, declared as EXPERIMENT in its module; a sweep of another name is unnamed."""
    if not name.isidentifier() or find_spec(f"experiments.{name}") is None:
        return UNNAMED
    found = getattr(import_module(f"experiments.{name}"), "EXPERIMENT", UNNAMED)
    return found if isinstance(found, Experiment) else UNNAMED
