"""Experiment trackers: the rows of a run as named scalars, written while the run trains, or exported from its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from harness.config.registry import TRACKER, ChoiceError
from harness.tracking.scalars import Scalars

PROJECT = "depth-harness"
"""The project, or experiment, to which trackers assign every run."""


class Tracker(Protocol):
    """One run in a tracker. `@TRACKER.register(NAME)` adds a class with these methods, also in a plugin.

    A tracker writes below `folder` alone: it prints nothing and does not use the network.
    """

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Any]) -> None:
        """Begin the entry of the run `name`, which replaces an earlier one. A resumed run is written from its first row on.

        Args:
            folder: absolute path of the tracker's folder, created if missing; shared by all runs, also of other processes.
            choices: the choices of the run under the names of the command line.
        """

    def write(self, rows: Sequence[Scalars]) -> None:
        """Add scalars; the steps of different tables are not in order."""

    def close(self, state: str) -> None:
        """End the entry. `state` is that of the run, as in status.json."""


def check_installed(name: str) -> None:
    """Raise ChoiceError if the package of a tracker, or of `parquet`, is not installed."""
    package = {"parquet": "pyarrow"}.get(name, name)
    if name in (*TRACKER.built_in, "parquet") and find_spec(package) is None:
        raise ChoiceError(f"{name}: needs a package that is not installed: python -m pip install -e '.[{name}]'")
