"""Judge claims on the tables of a sweep: the verdict in each setting, the differences from the paper, the commands that decide.

A claim is judged separately in each setting: each combination of values of the keys that are not the claim's (norm, width, ...).
If a setting lacks the runs that the claim needs, the verdict there is "not run", and the outcome names the missing runs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from harness.analysis.request import NO_ARM
from harness.analysis.tables import Tables
from harness.analysis.verdicts import DECIDED, MIN_SEEDS, MOST_SEEDS, Judgement, Verdict, every
from harness.claims.claim import Claim, Evidence, Grid, MissingRuns, Protocol, Setting, Statistic
from harness.config.data import SCHEDULES, DataConfig, needs_root
from harness.config.flat import as_text, flatten
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.records import states

DATA = "cifar10"
ELSEWHERE = ("device", "threads", *NO_ARM)
"""Keys outside every protocol."""
WARM_UP = tuple(f"schedule.warmup{end}" for end in ("", "_learning_rate", "_steps", "_error", "_max_steps"))
OPEN = ("precision", "plugins", "data.split", *WARM_UP)
"""Keys in which runs of the protocol `paper` may differ from the paper (He et al. 2015, 4.2 and its footnote: 45,000 or 50,000
images, warm-up). Such differences are reported."""
MAX_LISTED_SEEDS = 20
"""A command with more seeds has range(N)."""


@dataclass(frozen=True)
class _Group:
    """The runs of one setting."""

    setting: dict[str, Any]
    """Values of the keys in which the sweep's settings differ."""
    finished: pd.DataFrame
    unfinished: tuple[str, ...]
    """Names of the runs that have no result."""


@dataclass(frozen=True)
class Outcome:
    """The verdict on a claim in one setting, or "not run" for all settings that lack its runs."""

    claim: Claim
    settings: tuple[Mapping[str, Any], ...]
    """For each setting, the values of the keys in which the sweep's settings differ. A judged outcome has one."""
    evidence: Evidence | MissingRuns
    judgement: Judgement
    judgements: tuple[Judgement, ...] = ()
    """The judgement on each statistic of the evidence."""
    runs: str = ""
    """Data, steps and seeds, in words."""
    differences: tuple[str, ...] = ()
    """Where the runs differ from the paper: "data=digits (paper: cifar10)"."""
    unfinished: tuple[str, ...] = ()
    """Names of the setting's runs that have no result."""
    commands: tuple[str, ...] = ()
    """Commands of the runs expected to decide. Empty if the claim is decided, or if no number of seeds is expected to decide."""

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def statistics(self) -> Sequence[Statistic]:
        return self.evidence.statistics if isinstance(self.evidence, Evidence) else ()

    @property
    def setting(self) -> str:
        """The settings in words. Empty if the sweep has only one."""
        return "; ".join(", ".join(f"{key}={as_text(value)}" for key, value in keys.items()) for keys in self.settings if keys)


def judge_sweep(tables: Tables, claims: Sequence[Claim]) -> Iterator[Outcome]:
    """Yield the outcomes of each claim: one for each setting with its runs, and one for all settings without."""
    tables.compute(measure for claim in claims for measure in claim.measures)
    groups: dict[tuple[str, ...], list[_Group]] = {}
    for claim in claims:
        keys = tuple(key for key in tables.varying if key not in (*NO_ARM, *claim.keys))
        if keys not in groups:
            groups[keys] = list(_groups(tables, keys))
        yield from _outcomes(tables, claim, groups[keys])


def _outcomes(tables: Tables, claim: Claim, groups: Sequence[_Group]) -> Iterator[Outcome]:
    not_run: list[tuple[_Group, MissingRuns]] = []
    for group in groups:
        evidence = _find(claim, tables, group)
        if isinstance(evidence, MissingRuns):
            not_run.append((group, evidence))
        else:
            yield _judge(claim, evidence, group)
    if not_run:
        missing = tuple(dict.fromkeys(evidence.runs for _, evidence in not_run))
        yield Outcome(
            claim,
            tuple(group.setting for group, _ in not_run),
            MissingRuns("; ".join(missing)),
            Judgement(Verdict.NOT_RUN, needed=missing),
            commands=_commands(claim, {}, _base(claim, not_run[0][0].finished), MIN_SEEDS),
        )


def _find(claim: Claim, tables: Tables, group: _Group) -> Evidence | MissingRuns:
    """Return the evidence for a claim. If the claim's function raises an exception, only that claim is not run."""
    if not tables.has(claim.tables):
        return MissingRuns(f"runs with probes=[{','.join(claim.tables)}]")
    try:
        return claim.find(Setting(tables, group.finished, claim.keys))
    except Exception as error:  # a user's claim may raise anything
        return MissingRuns(f"numbers that it can be judged by ({type(error).__name__}: {error})")


def _judge(claim: Claim, evidence: Evidence, group: _Group) -> Outcome:
    differences, protocol = _differences(claim, group.finished)
    judgements = tuple(statistic.judge(protocol) for statistic in evidence.statistics)
    judgement = every(judgements)
    return Outcome(
        claim,
        (group.setting,),
        evidence,
        judgement,
        judgements,
        _describe(group.finished, _seeds(evidence)),
        differences,
        group.unfinished,
        _deciding_commands(claim, evidence, judgement, group.finished, protocol),
    )


def _seeds(evidence: Evidence) -> int:
    return min(statistic.estimate.seeds for statistic in evidence.statistics)


def _groups(tables: Tables, keys: tuple[str, ...]) -> Iterator[_Group]:
    """Group the runs by the values of `keys`; without keys all runs are one group."""
    groups = tables.runs.groupby(list(keys), sort=False, dropna=False) if keys else [((), tables.runs)]
    for values, runs in groups:
        finished = runs["status"].isin(states.FINISHED)
        yield _Group(dict(zip(keys, values, strict=True)), runs[finished], tuple(runs["run"][~finished]))


def _describe(runs: pd.DataFrame, seeds: int) -> str:
    data, steps = ("/".join(dict.fromkeys(map(str, runs[key]))) for key in ("data", "schedule.steps"))
    overflowed = int(runs["overflowed"].notna().sum())
    overflows = f", {overflowed} of {len(runs)} runs with an evaluation that is not finite" if overflowed else ""
    return f"{data}, {steps} steps, {seeds} seed{'' if seeds == 1 else 's'}{overflows}"


@cache
def defaults(data: str) -> Mapping[str, Any]:
    """Return the default value of every key with these data, as in `Tables.flat`."""
    config = RunConfig(
        data=DataConfig(data if needs_root(data) else "digits"), schedule=SCHEDULES.get(data, ScheduleConfig()), device="cpu"
    )
    return flatten(config.choices()) | {"data": data, "schedule.milestones": None}


def protocol_of(claim: Claim) -> Mapping[str, Any]:
    """Return the paper's value of every key."""
    return {**defaults(DATA), **(claim.paper or {})}


def _differences(claim: Claim, runs: pd.DataFrame) -> tuple[tuple[str, ...], bool]:
    """Return the differences from the paper in words, and whether the runs still follow the claim's protocol."""
    paper, own = protocol_of(claim), runs.iloc[0]
    keys = [key for key in paper if key not in (*claim.keys, *ELSEWHERE) and not same(own[key], paper[key])]
    differences = tuple(f"{key}={as_text(own[key])} (paper: {as_text(paper[key])})" for key in keys)
    return differences, claim.protocol is Protocol.ANY or all(key in OPEN for key in keys)


def same(first: Any, second: Any) -> bool:
    """Return whether two values of a key are equal. A missing value, which is NaN in a table, equals null."""
    return bool((first == second) or (pd.isna(first) and pd.isna(second)))


def _deciding_commands(
    claim: Claim, evidence: Evidence, judgement: Judgement, runs: pd.DataFrame, protocol: bool
) -> tuple[str, ...]:
    """Return the commands of the runs that are expected to decide; `protocol`: whether the runs follow the claim's protocol."""
    few = _seeds(evidence) < MIN_SEEDS
    by_seeds = judgement.seeds is not None or (few and not any(f"than {MOST_SEEDS}" in need for need in judgement.needed))
    if judgement.verdict in DECIDED or (protocol and not by_seeds):
        return ()
    seeds = max(judgement.seeds or 0, MIN_SEEDS) if protocol else MIN_SEEDS
    return _commands(claim, evidence.used if protocol else {}, _base(claim, runs), seeds)


def _base(claim: Claim, runs: pd.DataFrame) -> dict[str, str]:
    """Return the keys of the command: those of the runs, or of the claim's protocol if the runs do not follow it."""
    own: Mapping[str, Any] = defaults("digits")
    if len(runs) and _differences(claim, runs)[1]:
        own = runs.iloc[0].to_dict()
    elif claim.protocol is Protocol.PAPER:
        own = protocol_of(claim)
    data = str(own["data"])
    keys = {} if data == "digits" else {"data" if needs_root(data) else "data.name": data}
    keys |= {"data.root": "FOLDER"} if needs_root(data) else {}
    for key, default in defaults(data).items():
        if key not in (*claim.keys, "seed", "device", "data", "data.content") and not same(own[key], default):
            keys[key] = as_text(own[key])
    return keys


def _commands(claim: Claim, used: Grid, base: Mapping[str, str], seeds: int) -> tuple[str, ...]:
    listed = ",".join(map(str, range(seeds))) if seeds <= MAX_LISTED_SEEDS else f"range({seeds})"
    commands = []
    for grid in claim.needs:
        values = {key: ",".join(map(as_text, values)) for key, values in {**grid, **used}.items()}
        arguments = [f"{key}={value}" for key, value in {**base, **values, "seed": listed}.items()]
        commands.append(shlex.join(["python", "-m", "harness.run", "-m", *arguments]))
    return tuple(commands)
