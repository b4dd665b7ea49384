"""Declare an experiment: its question, its figures, and the published claims that its runs can test.

A claim lists the runs that it needs and has one function, `find`, from a `Setting` to the evidence found in it.
`harness.claims.judging` does the rest: settings, verdicts, missing runs, commands. docs/design.md has an example.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.stats import Estimate
from harness.analysis.tables import Measure, Tables
from harness.analysis.verdicts import Allowed, Judgement, judge
from harness.plots import Picture

Grid = Mapping[str, Sequence[Any]]
"""Runs to train: every combination of these values of these keys, written as on the command line."""


class Protocol(Enum):
    """The runs that can decide a claim. Other runs only indicate a direction: consistent or inconsistent."""

    PAPER = "paper"
    """CIFAR-10, batch size 128, 64,000 steps, every other key as in He et al. 2015, 4.2."""
    ANY = "any"


@dataclass(frozen=True)
class Setting:
    """The finished runs of a sweep that differ only in the claim's keys and the seed.

    The methods select runs by values of keys. A key with a dot is passed as **{"schedule.warmup": "none"}.
    """

    tables: Tables
    runs: pd.DataFrame
    """Rows of `Tables.finished`: one per run, with every key and every result."""
    keys: tuple[str, ...]
    """The claim's keys. A selection must fix each of them in which the runs differ."""

    def where(self, **keys: Any) -> pd.DataFrame:
        """Return the rows of the selected runs."""
        return self.runs[self._selected(keys)]

    def distinct(self, key: str, **keys: Any) -> list[Any]:
        """Return the distinct values of `key` in the selected runs, ascending."""
        return sorted(set(self.runs.loc[self._selected(keys), key].tolist()))

    def depths(self, **keys: Any) -> list[int]:
        """Return the depths of the selected runs, ascending."""
        return self.distinct("depth", **keys)

    def values(self, column: str, **keys: Any) -> dict[int, float]:
        """Return a column (train_error, test_error, ... in percent, at the end) of the selected runs by seed.

        A diverged run has the error of chance. Raises ValueError if the runs differ in a key of the claim.
        """
        columns = list(dict.fromkeys(["seed", column, *self.keys]))
        return self.by_seed(self.runs.loc[self._selected(keys), columns], column)

    def measured(self, measure: Measure, **keys: Any) -> pd.DataFrame:
        """Return the rows of a measure (declared in the claim's `measures`) for the selected runs.

        Beside the measure's own columns they have `run`, `seed` and the claim's keys. Runs without the table have no rows.
        """
        return self._with_keys(self.tables.measured(measure), self.where(**keys))

    def reduce(
        self, name: str, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str], **keys: Any
    ) -> pd.DataFrame:
        """Apply `function` to table `name` of each selected run, read now, and return the rows with the columns of `measured`.

        For tables that are too large to be read for every run of a large sweep (steps).
        """
        selected = self.where(**keys)
        return self._with_keys(self.tables.reduce(name, function, columns, selected), selected)

    def by_seed(self, frame: pd.DataFrame, column: str) -> dict[int, float]:
        """Return a column of a frame with one row per run (from `where`, `measured` or `reduce`) by seed.

        Raises ValueError if the runs differ in a key of the claim. Of runs with equal seeds, which differ only in their probes,
        the first counts.
        """
        mixed = [key for key in self.keys if frame[key].nunique() > 1]
        if mixed:
            raise ValueError(f"{column}: one sample must not mix runs with different {', '.join(mixed)}")
        unique = frame.drop_duplicates("seed")
        return dict(sorted(zip(map(int, unique["seed"]), map(float, unique[column]), strict=True)))

    def _selected(self, keys: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return a mask over `runs`; much faster than comparing frames, for sweeps of thousands of runs."""
        selected = np.ones(len(self.runs), dtype=bool)
        for key, value in keys.items():
            selected &= self.runs[key].to_numpy() == value
        return selected

    def _with_keys(self, frame: pd.DataFrame, selected: pd.DataFrame) -> pd.DataFrame:
        keys = selected[list(dict.fromkeys(["run", "seed", *self.keys]))]
        if frame.empty:
            return keys.iloc[:0]
        own = [name for name in frame.columns if name == "run" or name not in (*keys.columns, "arm", "x")]
        return frame[own].merge(keys, on="run", how="inner")


@dataclass(frozen=True)
class Statistic:
    """A number that tests a claim, and the values that the claim allows it to have."""

    name: str
    estimate: Estimate
    allowed: Allowed
    values: Mapping[str, Mapping[int, float]]
    """The values behind the estimate: by sample (arm and depth, in words), then by seed."""
    unit: str = ""
    """Unit of the estimate: "points" (of percent), "times", "steps", ..."""
    rule: Callable[[bool], Judgement] | None = None
    """Judges the statistic, given whether the runs follow the claim's protocol, if its interval does not decide
    (`harness.analysis.growth_models`)."""

    def judge(self, protocol: bool) -> Judgement:
        return self.rule(protocol) if self.rule else judge(self.estimate, self.allowed, protocol=protocol)


class Evidence:
    """The statistics that a claim's function found in a setting. The claim holds if each of them has an allowed value.

    `notes` are sentences for the report: censored runs, depths left out. `used` overrides the claim's needs by the values
    compared here, {"depth": (20, 56)}, for the command that adds seeds.
    """

    def __init__(self, *statistics: Statistic, notes: Sequence[str] = (), used: Grid | None = None) -> None:
        self.statistics, self.notes, self.used = statistics, tuple(notes), dict(used or {})


@dataclass(frozen=True)
class MissingRuns:
    """The runs that a setting lacks for the claim to be judged there, in words: "plain nets of 20 layers"."""

    runs: str


@dataclass(frozen=True)
class Claim:
    """A published sentence with the rule that judges it, fixed before the runs."""

    id: str
    source: str
    """Paper and place: "He et al. 2015, Fig. 6 left"."""
    sentence: str
    rule: str
    """The statistic and its threshold, in words."""
    protocol: Protocol
    keys: tuple[str, ...]
    """The keys that the claim fixes or compares. It is judged separately for each combination of all others but the seed."""
    needs: tuple[Grid, ...]
    """The runs that decide it, one command per grid. The keys of the setting and the seeds are added."""
    find: Callable[[Setting], Evidence | MissingRuns]
    tables: tuple[str, ...] = ()
    """The probes whose tables it needs (layers, blocks, ...)."""
    measures: tuple[Measure, ...] = ()
    """The per-run measures that `find` uses through `Setting.measured`. One pass over a table computes those of all claims."""
    paper: Mapping[str, Any] | None = None
    """Keys in which the paper's protocol differs from He et al. 2015, 4.2: {"schedule.warmup": "steps"}."""

    @property
    def sort_key(self) -> list[tuple[int, str]]:
        """The id split into text and numbers, so that D2 comes before D11."""
        return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", self.id)]


@dataclass(frozen=True)
class Experiment:
    """A question, the figures of its report in order, and the claims that its runs test."""

    question: str
    pictures: tuple[Picture, ...]
    claims: tuple[Claim, ...] = ()
