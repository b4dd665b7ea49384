"""What a sweep asked for: its runs, their choices, and in which of them they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.flat import flatten, varying
from harness.config.network import applies
from harness.config.run import with_defaults
from harness.config.schedule import default_milestones
from harness.records import paths, reader
from harness.records.reader import RecordError
from harness.records.run import Run

NO_ARM = ("seed", "schedule.eval_every", "probes", "gradient_norms")
"""Keys that make no arm of a comparison: repetitions, and what is looked at."""


@dataclass(frozen=True)
class Asked:
    """One sweep folder, as far as it is known from sweep.json and the choices of its runs."""

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """The contents of sweep.json; raises RecordError where the folder is no sweep."""
        return reader.read_json(self.folder / paths.SWEEP)

    @cached_property
    def _asked(self) -> tuple[list[Run], dict[str, str]]:
        found, lost = [Run(paths.runs_of(self.folder) / name) for name in dict.fromkeys(self.about["runs"])], {}
        for run in found:
            try:
                if not run.folder.is_dir():
                    raise RecordError(f"{run.folder}: the run's folder is missing")
                run.config  # noqa: B018  # read for what it raises
            except (RecordError, OSError) as error:
                lost[run.name] = self.words(error)
        if not any(run.folder.is_dir() for run in found):
            raise RecordError(f"{found[0].folder}: the run's folder is missing")
        return [run for run in found if run.name not in lost], lost

    @property
    def all_runs(self) -> list[Run]:
        """Every run that the sweep asked for whose choices can be read; raises RecordError where no run has a folder."""
        return self._asked[0]

    @property
    def lost(self) -> dict[str, str]:
        """Runs that were asked for and whose choices cannot be read, so that they are in no other table: why, by name."""
        return self._asked[1]

    def words(self, error: Exception) -> str:
        """Return what an error says, paths shortened to begin with the run's name."""
        return str(error).replace(f"{paths.runs_of(self.folder)}/", "")

    @cached_property
    def varying(self) -> list[str]:
        """The keys in which the runs differ."""
        return varying(self.flat)

    @property
    def flat_as_asked(self) -> list[dict[str, Any]]:
        """The choices of every run, flattened, as config.json has them."""
        return [flatten(run.config) for run in self.all_runs]

    @cached_property
    def flat(self) -> list[dict[str, Any]]:
        """The choices of every run, flattened.

        Milestones that follow from the steps are empty, since they are no choice; none at all are [].
        """
        found = self.flat_as_asked
        for choices in found:
            default = default_milestones(choices["schedule.steps"])
            if choices["schedule.milestones"] == " ".join(map(str, default)):
                choices["schedule.milestones"] = ""
            elif not choices["schedule.milestones"]:
                choices["schedule.milestones"] = "[]"
        return found

    @cached_property
    def x(self) -> str:
        """The key on the horizontal axis: depth, or the first that varies where depth does not and is a number in every run."""
        numbers = [key for key in self.varying if key not in NO_ARM and all(_is_number_of(flat, key) for flat in self.flat)]
        return numbers[0] if numbers and "depth" not in self.varying else "depth"

    def arm(self, flat: dict[str, Any], x: str) -> str:
        """Return the arm of a run in words: the keys that vary, but for `x`, and do something there."""
        keys = [key for key in self.varying if key not in (*NO_ARM, x) and applies(key, flat["shortcut"])]
        return ", ".join(f"{key}={_short(flat[key])}" for key in keys) or "all runs"

    @property
    def keys(self) -> list[str]:
        """Every key that a run has."""
        return list(self.flat[0] if self.flat else flatten(with_defaults({})))


def _is_number_of(flat: dict[str, Any], key: str) -> bool:
    """Return whether a key is a number in this run, and does something there."""
    return isinstance(flat[key], int | float) and not isinstance(flat[key], bool) and applies(key, flat["shortcut"])


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
