"""Report on claims: verdicts, the evidence for each claim, claims not run, the degradation index, published numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress, groupby
from typing import Any

import pandas as pd

from experiments import of_sweep
from harness.analysis import degradation_index, published, stats
from harness.analysis.request import NO_ARM
from harness.analysis.stats import Estimate
from harness.analysis.tables import Tables
from harness.analysis.verdicts import Verdict
from harness.claims.claim import Evidence, MissingRuns, Statistic
from harness.claims.judging import DATA, ELSEWHERE, Outcome, defaults, judge_sweep, same
from harness.config.blocks import applies
from harness.config.flat import as_text
from harness.records import paths, writer
from harness.reporting.document import Badge, Code, Element, Fold, Link, Section, Table, Tally, Text, facts, format_value

HOW_TO_READ = (
    "Reproduced and contradicted are firm: the runs follow the claim's protocol, with 3 seeds or more, and the whole 95 % "
    "interval lies on one side of the threshold. Undecided: the interval contains the threshold. Consistent and inconsistent "
    "only indicate a direction, because of another protocol or fewer seeds. Thresholds were fixed before the runs. A claim "
    "with several numbers holds if all of them do. Errors are those at the end of training; a diverged run counts with the "
    "error of a guess."
)
ABOUT_INDEX = (
    "Points of training error for each doubling of depth: the slope over the base-2 logarithm of depth, averaged over seeds. "
    "Families are ranked among those with equal depths and protocol, the least degraded first."
)
ABOUT_PUBLISHED = (
    "Test errors in percent; ours are means over seeds with 95 % intervals. Numbers are comparable where nothing differs."
)
MAX_SHOWN = 2
"""Maximum statistics of a claim that the table of verdicts shows one by one."""
MAX_NETS = 60
"""Maximum nets in the table of published numbers."""


def judge(tables: Tables) -> list[Outcome]:
    """Return the outcomes of the claims to judge on a sweep, ordered by claim."""
    return sorted(judge_sweep(tables, of_sweep(tables).claims), key=lambda outcome: outcome.claim.sort_key)


def sections(tables: Tables, outcomes: Sequence[Outcome]) -> list[Section]:
    """Return the report's sections on claims, verdicts first. Empty sections are left out."""
    judged = [outcome for outcome in outcomes if isinstance(outcome.evidence, Evidence)]
    not_run = [outcome for outcome in outcomes if isinstance(outcome.evidence, MissingRuns)]
    details = [Section("Claim by claim", [_details(*numbered) for numbered in enumerate(judged, 1)])] if judged else []
    missing = [_not_run(not_run)] if not_run else []
    return [_verdicts(judged, len(not_run)), *details, *missing, *_indices(tables), *_published(tables)]


def write(tables: Tables, outcomes: Sequence[Outcome]) -> None:
    """Write verdicts.json. Numbers have full precision; an unknown or unbounded one is null."""
    writer.write_json(tables.folder / paths.VERDICTS, {"verdicts": [_record(outcome) for outcome in outcomes]})


def _verdicts(judged: Sequence[Outcome], not_run: int) -> Section:
    if not judged:
        return Section("Verdicts", [Text("No claim has the runs that it needs.")])
    several_runs, settings = len({outcome.runs for outcome in judged}) > 1, any(outcome.setting for outcome in judged)
    columns = [True, True, True, True, several_runs, settings]
    header = ["claim", "verdict", "published sentence", "found [95 % interval]", "runs", "setting"]
    rows = []
    for number, outcome in enumerate(judged, 1):
        link, badge = Link(outcome.claim.id, _anchor(number)), Badge(outcome.verdict.value)
        rows.append([link, badge, outcome.claim.sentence, _summary(outcome), outcome.runs, outcome.setting])
    table = Table(list(compress(header, columns)), [list(compress(row, columns)) for row in rows], prose=True, name="verdicts")
    counts = Counter(outcome.verdict for outcome in judged) + Counter({Verdict.NOT_RUN: not_run})
    tally = Tally([(Badge(verdict.value), counts[verdict]) for verdict in reversed(Verdict) if counts[verdict]])
    elements: list[Element] = [tally, table]
    if not several_runs:
        elements.append(Text(f"All from: {judged[0].runs}."))
    if not_run:
        elements.append(Text("Claims not run, in this sweep or in some of its settings, are listed below with the missing runs."))
    return Section("Verdicts", [*elements, Fold("How to read the verdicts", [Text(HOW_TO_READ)])])


def _anchor(number: int) -> str:
    return f"claim-{number}"


def _summary(outcome: Outcome) -> str:
    """Return the statistics; if there are many, the number that hold and the first statistic that has the claim's verdict."""
    numbers = [f"{_number(s.estimate.value, s.unit)}{_interval(s.estimate, ' ')}" for s in outcome.statistics]
    if len(numbers) <= MAX_SHOWN:
        return "; ".join(numbers)
    verdicts = [judgement.verdict for judgement in outcome.judgements]
    hold = sum(verdict in (Verdict.REPRODUCED, Verdict.CONSISTENT) for verdict in verdicts)
    first = verdicts.index(outcome.verdict)
    return f"{hold} of {len(numbers)} numbers hold; {outcome.statistics[first].name}: {numbers[first]}"


def _details(number: int, outcome: Outcome) -> Fold:
    claim = outcome.claim
    about = {"source": claim.source, "rule": claim.rule, "protocol": claim.protocol.value, "runs": outcome.runs}
    if outcome.differences:
        about["differs from the paper"] = ", ".join(outcome.differences)
    if outcome.unfinished:
        about["runs without a result, left out"] = ", ".join(outcome.unfinished)
    if outcome.judgement.needed:
        about["needed to decide"] = ", ".join(outcome.judgement.needed)
    numbers = [
        [s.name, _number(s.estimate.value, s.unit), _interval(s.estimate), _allowed(s), str(s.estimate.seeds)]
        for s in outcome.statistics
    ]
    values = []
    for name, sample in {name: sample for s in outcome.statistics for name, sample in s.values.items()}.items():
        by_seed = ", ".join(f"{seed}: {format_value(value)}" for seed, value in sample.items())
        values.append([name, format_value(sum(sample.values()) / len(sample)) if sample else "", by_seed])
    elements: list[Element] = [
        facts(about),
        Table(["number", "found", "95 % interval", "claimed", "seeds"], numbers),
        Table(["values of", "mean", "by seed"], values),
    ]
    if isinstance(outcome.evidence, Evidence):
        elements += [Text(note) for note in outcome.evidence.notes]
    if outcome.commands:
        elements += [Text("Runs expected to decide it (finished runs are reused):"), Code("\n".join(outcome.commands))]
    name = claim.id + (f" ({outcome.setting})" if outcome.setting else "")
    return Fold(name, elements, Badge(outcome.verdict.value), claim.sentence, _anchor(number))


def _not_run(outcomes: Sequence[Outcome]) -> Section:
    rows = []
    for outcome in outcomes:
        setting = f" (in {outcome.setting})" if outcome.setting else ""
        missing = "; ".join(outcome.judgement.needed)
        rows.append([outcome.claim.id, outcome.claim.sentence, f"{missing}{setting}", "; ".join(outcome.commands)])
    about = "These claims lack runs. The command trains those of the first setting that lacks them."
    table = Table(["claim", "published sentence", "missing", "command"], rows, prose=True)
    title = f"{len(rows)} claim{'s' if len(rows) > 1 else ''} with missing runs and commands"
    return Section("Claims not run", [Text(about), Fold(title, [table])])


def _indices(tables: Tables) -> list[Section]:
    """Rank the families by degradation index, among those with equal protocol and depths."""
    rows = []
    indices = degradation_index.degradation(tables)
    for (protocol, depths), group in groupby(indices, lambda index: (index.protocol, index.depths)):
        for rank, index in enumerate(group, 1):
            slope = index.slope
            seeds = f"{slope.seeds}" + (f" ({index.left_out} left out, without all depths)" if index.left_out else "")
            numbers = _number(slope.value), _interval(slope), seeds
            rows.append([str(rank), index.family, *numbers, ", ".join(map(str, depths)), protocol])
    header = ["rank", "family", "points a doubling", "95 % interval", "seeds", "depths", "protocol"]
    return [Section("Degradation index", [Text(ABOUT_INDEX), Table(header, rows)])] if rows else []


def _published(tables: Tables) -> list[Section]:
    """Compare our test errors with those published for the same network."""
    keys = ["depth", *(key for key in tables.varying if key not in (*NO_ARM, "depth"))]
    rows, nets = [], 0
    for _, runs in tables.finished.groupby(keys, sort=False, dropna=False):
        own = runs.iloc[0].to_dict()
        peers = published.matching(own)
        nets += bool(peers)
        if not peers or nets > MAX_NETS:
            continue
        values = runs.drop_duplicates("seed")["test_error"].tolist()
        estimate = stats.mean(values)
        named = (key for key in dict.fromkeys([*keys, "shortcut"]) if applies(key, own["shortcut"]))
        net = ", ".join(f"{key}={as_text(own[key])}" for key in named)
        ours = f"{_number(estimate.value)}{_interval(estimate, ' ')}"
        for peer in peers:
            differs = ", ".join(_differences(own, peer)) or "nothing"
            rows.append([net, peer.words, ours, str(len(values)), peer.how, f"{peer.source}, {peer.place}", differs])
    if not rows:
        return []
    header = ["net", "published", "ours [95 % interval]", "seeds", "published is", "source", "differs"]
    elements: list[Element] = [Text(ABOUT_PUBLISHED)]
    if len({row[-1] for row in rows}) == 1:
        elements.append(Text(f"What differs from each of them: {rows[0][-1]}."))
        header, rows = header[:-1], [row[:-1] for row in rows]
    elements.append(Table(header, rows, prose=True))
    if nets > MAX_NETS:
        elements.append(Text(f"The first {MAX_NETS} of {nets} nets."))
    return [Section("Published numbers", elements)]


def _differences(own: Mapping[str, Any], peer: published.Published) -> list[str]:
    """Return the keys in which a run differs from the published one, with both values."""
    if peer.data != DATA:
        return [f"data={own['data']} (published: {peer.data})"]
    left_open = (*ELSEWHERE, *peer.keys, "data.split", "plugins")
    return [
        f"{key}={as_text(own[key])} (published: {as_text(value)})"
        for key, value in defaults(DATA).items()
        if key not in left_open and not key.startswith("schedule.warmup") and not same(own[key], value)
    ]


def _allowed(statistic: Statistic) -> str:
    low, high = statistic.allowed.low, statistic.allowed.high
    bounds = f"above {low:g}" if math.isinf(high) else f"below {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"
    return f"{bounds} {statistic.unit}".rstrip()


def _number(value: float, unit: str = "") -> str:
    return f"{value:.3g}" + (f" {unit}" if unit else "") if math.isfinite(value) else "unknown"


def _interval(estimate: Estimate, before: str = "") -> str:
    """Return the interval as text, or nothing if it is unknown."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{before}[{estimate.low:.3g}, {estimate.high:.3g}]"


def _record(outcome: Outcome) -> dict[str, Any]:
    """Return an entry of verdicts.json."""
    claim = outcome.claim
    return {
        "claim": claim.id,
        "sentence": claim.sentence,
        "source": claim.source,
        "protocol": claim.protocol.value,
        "verdict": outcome.verdict.value,
        "settings": [{key: _json_value(value) for key, value in setting.items()} for setting in outcome.settings],
        "runs": outcome.runs,
        "parts": [_statistic_record(statistic) for statistic in outcome.statistics],
        "differs": list(outcome.differences),
        "needed": list(outcome.judgement.needed),
        "commands": list(outcome.commands),
    }


def _statistic_record(statistic: Statistic) -> dict[str, Any]:
    estimate, allowed = statistic.estimate, statistic.allowed
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "above": allowed.low, "below": allowed.high}
    return {
        "name": statistic.name,
        "unit": statistic.unit,
        **{name: _json_value(value) for name, value in numbers.items()},
        "seeds": estimate.seeds,
        "values": {
            name: {str(seed): _json_value(value) for seed, value in sample.items()} for name, sample in statistic.values.items()
        },
    }


def _json_value(value: Any) -> Any:
    """Return a value for JSON: null for a missing or infinite number."""
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) or (isinstance(value, float) and math.isinf(value)) else value
