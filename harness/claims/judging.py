"""From a sweep's tables and claims to outcomes: what is judged where, what differs from the paper, what would settle it.

Runs of one sweep may differ in keys that a claim does not speak of (norm, width, learning rate, ...). It is judged within each
combination of those, a setting, and never across them. A claim that has no setting with its runs is not run, and says which
runs are missing. Protocol `paper` is CIFAR-10, batch 128, 64,000 steps, and the paper's value of every other key that changes
what is trained; precision, device, threads, 45,000 or 50,000 images, and the warm-up are left open (He et al. 2015, 4.2 and its
footnote), and what of them differs is said all the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from harness.analysis.request import NO_ARM
from harness.analysis.tables import Tables
from harness.analysis.verdicts import MIN_SEEDS, MOST_SEEDS, Judgement, Verdict, every
from harness.claims.claim import Claim, Found, Grid, Missing, Protocol, Setting
from harness.config.data import IMAGE_FOLDER, DataConfig
from harness.config.flat import flatten
from harness.config.run import RunConfig
from harness.config.schedule import SCHEDULES, ScheduleConfig

DATA = "cifar10"
ELSEWHERE = ("device", "threads", *NO_ARM)
"""Keys that no protocol speaks of."""
OPEN = (
    "precision",
    "plugins",
    "data.split",
    *(f"schedule.warmup{end}" for end in ("", "_learning_rate", "_steps", "_error", "_max_steps")),
)
"""Keys in which runs may differ from the paper's and still be of its protocol."""
DECIDED = (Verdict.REPRODUCED, Verdict.CONTRADICTED)
WITH_ROOT = ("cifar10", "cifar100", IMAGE_FOLDER)
"""Data that lie in a folder which a command has to name."""
LISTS = ("plugins", "probes", "schedule.milestones")
"""Keys whose values are lists."""
LISTED = 20
"""Seeds that a command lists one by one."""
Group = tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]
"""Runs of one setting: the keys that tell it from others, its finished runs, and all that were asked for."""


@dataclass(frozen=True)
class Outcome:
    """What is said of a claim in one setting, or of all settings that lack its runs."""

    claim: Claim
    settings: tuple[Mapping[str, Any], ...]
    """Each with the keys in which the sweep's settings differ; one of what was judged."""
    found: Found | Missing
    judgement: Judgement
    by_part: tuple[Judgement, ...]
    """The judgement on each part of what was found."""
    where: str
    """Data, steps and seeds, in words."""
    differs: tuple[str, ...]
    """What is not as in the paper: "data=digits (paper: cifar10)"."""
    unfinished: tuple[str, ...]
    """Runs of the setting that the sweep asked for and that have no result."""
    commands: tuple[str, ...]
    """What would settle it; empty where it is decided, or where no number of seeds is expected to."""

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def setting(self) -> str:
        """The setting in words; empty where the sweep has one."""
        return "; ".join(", ".join(f"{key}={value}" for key, value in one.items()) for one in self.settings if one)


def judge_sweep(tables: Tables, claims: Sequence[Claim]) -> Iterator[Outcome]:
    """Yield what is said of each claim: an outcome for each setting that has its runs, and one for those that lack them."""
    tables.take(measure for claim in claims for measure in claim.measures)
    groups: dict[tuple[str, ...], list[Group]] = {}
    for claim in claims:
        apart = tuple(key for key in tables.varying if key not in (*NO_ARM, *claim.keys))
        if apart not in groups:
            groups[apart] = list(_groups(tables, apart))
        yield from _outcomes(tables, claim, groups[apart])


def _outcomes(tables: Tables, claim: Claim, groups: Sequence[Group]) -> Iterator[Outcome]:
    lacking: list[tuple[dict[str, Any], Setting, Missing]] = []
    measured = tables.has(claim.tables)
    for names, finished, asked in groups:
        setting = Setting(tables, finished, claim.keys)
        found = _find(claim, setting) if measured else Missing(f"runs with probes=[{','.join(claim.tables)}]")
        if isinstance(found, Missing):
            lacking.append((names, setting, found))
            continue
        differs, as_claimed = _differences(claim, setting.runs)
        parts = [part.judged(as_claimed) for part in found.parts]
        seeds = min(part.estimate.seeds for part in found.parts)
        judgement = every(parts)
        yield Outcome(
            claim,
            (names,),
            found,
            judgement,
            tuple(parts),
            _where(setting.runs, seeds),
            differs,
            tuple(asked[~asked["run"].isin(setting.runs["run"])]["run"]),
            _to_settle(claim, found, judgement, setting.runs, as_claimed),
        )
    if lacking:
        reasons = tuple(dict.fromkeys(missing.runs for _, _, missing in lacking))
        yield Outcome(
            claim,
            tuple(names for names, _, _ in lacking),
            Missing("; ".join(reasons)),
            Judgement(Verdict.NOT_RUN, needed=reasons),
            (),
            "",
            (),
            (),
            _commands(claim, {}, _base(claim, lacking[0][1].runs), MIN_SEEDS),
        )


def _find(claim: Claim, setting: Setting) -> Found | Missing:
    """Return what a claim finds; numbers that it can make nothing of cost the report that claim alone."""
    try:
        return claim.find(setting)
    except Exception as error:  # whatever a claim of one's own raises
        return Missing(f"numbers that it can be judged by ({type(error).__name__}: {error})")


def _groups(tables: Tables, apart: tuple[str, ...]) -> Iterator[Group]:
    """Yield the groups of runs with equal values of the keys `apart`; one without finished runs where none has finished."""
    groups: Iterable[tuple[Any, pd.DataFrame]] = [((), tables.runs)]
    if apart:
        groups = tables.runs.groupby(list(apart), sort=False, dropna=False)
    done = set(tables.finished["run"])
    for values, asked in groups:
        yield dict(zip(apart, values, strict=True)), asked[asked["run"].isin(done)], asked


def _where(runs: pd.DataFrame, seeds: int) -> str:
    def all_of(key: str) -> str:
        return "/".join(dict.fromkeys(map(str, runs[key])))

    overflowed = int(runs["overflowed"].notna().sum())
    guesses = f", {overflowed} of {len(runs)} runs with an evaluation that is not finite" if overflowed else ""
    return f"{all_of('data')}, {all_of('schedule.steps')} steps, {seeds} seed{'' if seeds == 1 else 's'}{guesses}"


@cache
def defaults(data: str) -> Mapping[str, Any]:
    """Return the value of every key in a run of which only the data were chosen, as `Tables.flat` has them."""
    config = RunConfig(
        data=DataConfig(data if data in WITH_ROOT else "digits"), schedule=SCHEDULES.get(data, ScheduleConfig()), device="cpu"
    )
    return flatten(config.choices()) | {"data": data, "schedule.milestones": ""}


def protocol_of(claim: Claim) -> Mapping[str, Any]:
    """Return the paper's value of every key."""
    return dict(defaults(DATA)) | dict(claim.paper or {})


def _differences(claim: Claim, runs: pd.DataFrame) -> tuple[tuple[str, ...], bool]:
    """Return in words what differs from the paper, and whether the protocol is the claim's all the same."""
    paper, own = protocol_of(claim), runs.iloc[0]
    keys = [key for key in paper if key not in (*claim.keys, *ELSEWHERE) and not same(own[key], paper[key])]
    words = tuple(f"{key}={shown(own[key])} (paper: {shown(paper[key])})" for key in keys)
    return words, claim.protocol is Protocol.ANY or all(key in OPEN for key in keys)


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a key are the same, missing ones included (a table has NaN for null)."""
    return bool((one == other) or (pd.isna(one) and pd.isna(other)))


def shown(value: Any) -> str:
    """Return a key's value as a command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if pd.isna(value) or value == "" else str(value)


def _to_settle(claim: Claim, found: Found, judgement: Judgement, runs: pd.DataFrame, as_claimed: bool) -> tuple[str, ...]:
    """Return the commands of the runs that are expected to decide."""
    few = min(part.estimate.seeds for part in found.parts) < MIN_SEEDS
    by_seeds = judgement.seeds is not None or (few and not any(f"than {MOST_SEEDS}" in words for words in judgement.needed))
    if judgement.verdict in DECIDED or (as_claimed and not by_seeds):
        return ()
    seeds = max(judgement.seeds or 0, MIN_SEEDS) if as_claimed else MIN_SEEDS
    return _commands(claim, found.used if as_claimed else {}, _base(claim, runs), seeds)


def _base(claim: Claim, runs: pd.DataFrame) -> dict[str, str]:
    """Return the keys that a command needs for runs of the setting; where those are not of its protocol, of the protocol."""
    own: Mapping[str, Any] = defaults("digits")
    if len(runs) and _differences(claim, runs)[1]:
        own = runs.iloc[0].to_dict()
    elif claim.protocol is Protocol.PAPER:
        own = protocol_of(claim)
    data = str(own["data"])
    keys = {} if data == "digits" else {"data" if data in WITH_ROOT else "data.name": data}
    keys |= {"data.root": "FOLDER"} if data in WITH_ROOT else {}
    for key, default in defaults(data).items():
        if key not in (*claim.keys, "seed", "device", "data", "data.content") and not same(own[key], default):
            keys[key] = f"[{shown(own[key]).strip('[]').replace(' ', ',')}]" if key in LISTS else shown(own[key])
    return keys


def _commands(claim: Claim, used: Grid, base: Mapping[str, str], seeds: int) -> tuple[str, ...]:
    listed = ",".join(map(str, range(seeds))) if seeds <= LISTED else f"range({seeds})"
    commands = []
    for grid in claim.needs:
        values = {key: ",".join(map(shown, values)) for key, values in (dict(grid) | dict(used)).items()}
        words = [f"{key}={value}" for key, value in (dict(base) | values | {"seed": listed}).items()]
        commands.append(shlex.join(["python", "-m", "harness.run", "-m", *words]))
    return tuple(commands)
