"""What an experiment declares: its question, its figures, and the published sentences that its runs can settle.

A claim is declared beside the figures that show it. It says which runs it needs, and has one function from a `Setting`, the
finished runs that differ in nothing but the keys that the claim speaks of, to what was found in them; `harness.claims.judging`
does the rest (settings, verdicts, missing runs, commands). A claim sees tables only:

    PLAIN = {"shortcut": "none"}

    def rise(setting: Setting) -> Found | Missing:
        depths = setting.depths(**PLAIN)
        if 20 not in depths or depths[-1] == 20:
            return Missing("plain nets of 20 layers and deeper")
        shallow, deep = (setting.values("train_error", depth=depth, **PLAIN) for depth in (20, depths[-1]))
        change = stats.difference(list(deep.values()), list(shallow.values()))
        values = {"plain, 20 layers": shallow, f"plain, {depths[-1]} layers": deep}
        return Found(Part("rise of the training error", change, above(1), values, "points"))
"""

from __future__ import annotations

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
"""Runs asked for: every combination of these values of these keys, as a command line has them."""


class Protocol(Enum):
    """Where a claim may be judged for good; elsewhere its verdict is a direction, consistent or inconsistent."""

    PAPER = "paper"
    """CIFAR-10, batch 128, 64,000 steps (He et al. 2015, 4.2), every other key as there."""
    ANY = "any"


@dataclass(frozen=True)
class Setting:
    """The finished runs of a sweep that differ in the claim's keys and the seed alone."""

    tables: Tables
    runs: pd.DataFrame
    """Rows of `Tables.finished`: one a run, every key and every result."""
    keys: tuple[str, ...]
    """The keys that the claim speaks of: whatever asks for values fixes all of those in which runs differ."""

    def where(self, **keys: Any) -> pd.DataFrame:
        """Return the rows of the runs with these values of keys; names with a dot are given as **{"schedule.warmup": "none"}."""
        return self.runs[self._chosen(keys)]

    def distinct(self, key: str, **keys: Any) -> list[Any]:
        """Return the values of `key`, rising, that finished runs with these values of keys have."""
        return sorted(set(self.runs[key].to_numpy()[self._chosen(keys)].tolist()))

    def depths(self, **keys: Any) -> list[int]:
        """Return the depths, rising, of which there are finished runs with these values of keys."""
        return self.distinct("depth", **keys)

    def values(self, column: str, **keys: Any) -> dict[int, float]:
        """Return a column of the runs with these values of keys, by seed: train_error, test_error, ... at the end, in percent.

        A diverged run has the error of a guess. Raises ValueError where the runs differ in a key of the claim, so that nothing
        is mixed.
        """
        return self.by_seed(self.runs[list(dict.fromkeys(["seed", column, *self.keys]))][self._chosen(keys)], column)

    def measured(self, measure: Measure, **keys: Any) -> pd.DataFrame:
        """Return the rows of a measure (declared in the claim's `measures`) of the runs with these values of keys.

        Beside the measure's own columns they have `run`, `seed` and the claim's keys. Runs without the table have no rows.
        """
        return self._with_keys(self.tables.measured(measure), self.where(**keys))

    def reduce(
        self, name: str, function: Callable[[pd.DataFrame], pd.DataFrame], columns: Sequence[str], **keys: Any
    ) -> pd.DataFrame:
        """Return what `function` makes of table `name` of each run with these values of keys, read now.

        For what is too large to be read of every run of a large sweep (steps); columns are added as in `measured`.
        """
        chosen = self.where(**keys)
        return self._with_keys(self.tables.reduce(name, function, columns, chosen), chosen)

    def by_seed(self, frame: pd.DataFrame, column: str) -> dict[int, float]:
        """Return a column of a frame with one row a run (of `where`, `measured`, `reduce`) by seed, as `values` does."""
        mixed = [key for key in self.keys if frame[key].nunique() > 1]
        if mixed:
            raise ValueError(f"{column}: runs with different {', '.join(mixed)} were asked for as one sample")
        alone = frame.drop_duplicates("seed")  # others differ in what is looked at, not in what is trained
        return dict(sorted(zip(map(int, alone["seed"]), map(float, alone[column]), strict=True)))

    def _chosen(self, keys: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Return which runs have these values of keys."""
        chosen = np.ones(len(self.runs), dtype=bool)
        for key, value in keys.items():
            chosen &= self.runs[key].to_numpy() == value
        return chosen

    def _with_keys(self, frame: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
        about = chosen[list(dict.fromkeys(["run", "seed", *self.keys]))]
        if frame.empty:
            return about.iloc[:0]
        own = [name for name in frame.columns if name == "run" or name not in (*about.columns, "series", "x")]
        return frame[own].merge(about, on="run", how="inner")


@dataclass(frozen=True)
class Part:
    """One number that a claim is about, and what the claim allows it to be."""

    name: str
    estimate: Estimate
    allowed: Allowed
    values: Mapping[str, Mapping[int, float]]
    """Every value that the estimate is from: by sample (in words: arm and depth), then by seed."""
    unit: str = ""
    """Of the estimate: "points" (of percent), "times", "steps", ..."""
    by: Callable[[bool], Judgement] | None = None
    """How it is judged, given whether the protocol is the claim's, where not by the interval
    (`harness.analysis.growth_models`)."""

    def judged(self, protocol: bool) -> Judgement:
        return self.by(protocol) if self.by else judge(self.estimate, self.allowed, protocol=protocol)


class Found:
    """What a claim's function found: one part, or several that all have to hold.

    `notes` say in words what else must be known: runs that were censored, or a depth that was left out. `used` overrides the
    claim's needs by what was compared here, for the command that would add seeds: {"depth": (20, 56)}.
    """

    def __init__(self, *parts: Part, notes: Sequence[str] = (), used: Grid | None = None) -> None:
        self.parts, self.notes, self.used = parts, tuple(notes), dict(used or {})


@dataclass(frozen=True)
class Missing:
    """What a setting lacks for the claim to be judged there, in words: "plain nets of 20 layers"."""

    runs: str


@dataclass(frozen=True)
class Claim:
    """A published sentence with the rule by which it is judged, fixed before the runs."""

    id: str
    source: str
    """Paper and place: "He et al. 2015, Fig. 6 left"."""
    sentence: str
    """What is claimed, in words."""
    rule: str
    """The statistic and its threshold, in words."""
    protocol: Protocol
    keys: tuple[str, ...]
    """The keys that the claim fixes or compares; within each combination of all other keys (but the seed) it is judged apart."""
    needs: tuple[Grid, ...]
    """The runs that settle it, one command a grid; the keys of a setting and seeds are added."""
    find: Callable[[Setting], Found | Missing]
    tables: tuple[str, ...] = ()
    """Tables of probes that it needs of its runs (layers, blocks, ...)."""
    measures: tuple[Measure, ...] = ()
    """Statistics of every run that `find` asks for with `Setting.measured`: all claims' are taken in one reading of a table."""
    paper: Mapping[str, Any] | None = None
    """Keys of the paper's protocol beside those of He et al. 2015, 4.2: {"schedule.warmup": "steps"}."""


@dataclass(frozen=True)
class Experiment:
    """A question put to a sweep, the pictures that its report shows first to last, and the claims that it is judged by."""

    question: str
    pictures: tuple[Picture, ...]
    claims: tuple[Claim, ...] = ()
