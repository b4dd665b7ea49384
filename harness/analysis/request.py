"""The request behind a sweep folder: its runs, their configurations, and the keys in which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.blocks import applies
from harness.config.flat import as_text, flatten, varying
from harness.config.run import with_defaults
from harness.config.schedule import chosen_milestones
from harness.records import paths, reader
from harness.records.reader import RecordError
from harness.records.run import Run

NO_ARM = ("seed", "schedule.eval_every", "probes", "gradient_norms")
"""Keys that make no arm of a comparison: the seed, and what is recorded."""


@dataclass(frozen=True)
class Request:
    """A sweep folder, as far as sweep.json and the configurations of its runs describe it."""

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of sweep.json. Raises RecordError if the folder is not a sweep."""
        return reader.read_json(self.folder / paths.SWEEP)

    @cached_property
    def _runs(self) -> tuple[list[Run], dict[str, str]]:
        requested = [Run(paths.runs_of(self.folder) / name) for name in dict.fromkeys(self.about["runs"])]
        if not any(run.folder.is_dir() for run in requested):
            raise RecordError(f"{requested[0].folder}: the run's folder is missing")
        lost: dict[str, str] = {}
        for run in requested:
            try:
                if not run.folder.is_dir():
                    raise RecordError(f"{run.folder}: the run's folder is missing")
                run.config  # noqa: B018  # read for what it raises
            except (RecordError, OSError) as error:
                lost[run.name] = self.message(error)
        return [run for run in requested if run.name not in lost], lost

    @property
    def all_runs(self) -> list[Run]:
        """Every requested run with a readable configuration. Raises RecordError if no run has a folder."""
        return self._runs[0]

    @property
    def lost(self) -> dict[str, str]:
        """The reason for each requested run whose configuration is unreadable, by name; such runs are in no other table."""
        return self._runs[1]

    def message(self, error: Exception) -> str:
        """Return an error's message, with paths shortened to begin with the run's name."""
        return str(error).replace(f"{paths.runs_of(self.folder)}/", "")

    @cached_property
    def varying(self) -> list[str]:
        """The keys in which the runs differ."""
        return varying(self.flat)

    @property
    def flat_configs(self) -> list[dict[str, Any]]:
        """The configuration of every run, flattened, as in config.json."""
        return [flatten(run.config) for run in self.all_runs]

    @cached_property
    def flat(self) -> list[dict[str, Any]]:
        """The configuration of every run, flattened. Milestones that follow from the number of steps are None."""
        return [
            flat | {"schedule.milestones": chosen_milestones(flat["schedule.steps"], flat["schedule.milestones"])}
            for flat in self.flat_configs
        ]

    @cached_property
    def x(self) -> str:
        """The key on the horizontal axis: depth, unless only another number varies; of several, the first."""
        numbers = [key for key in self.varying if key not in NO_ARM and all(_is_number(flat, key) for flat in self.flat)]
        return numbers[0] if numbers and "depth" not in self.varying else "depth"

    def arm(self, flat: dict[str, Any], x: str) -> str:
        """Return a run's arm as text: the varying keys other than `x` that have an effect in the run."""
        keys = [key for key in self.varying if key not in (*NO_ARM, x) and applies(key, flat["shortcut"])]
        return ", ".join(f"{key}={as_text(flat[key])}" for key in keys) or "all runs"

    @property
    def keys(self) -> list[str]:
        """Every key of a run."""
        return list(self.flat[0] if self.flat else flatten(with_defaults({})))


def _is_number(flat: dict[str, Any], key: str) -> bool:
    """Return whether a key is a number, and has an effect, in this run."""
    return isinstance(flat[key], int | float) and not isinstance(flat[key], bool) and applies(key, flat["shortcut"])
