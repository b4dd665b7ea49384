"""What a report says of claims: verdicts, each claim with its evidence, those without runs; indices; published numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from experiments import claims_of
from harness.analysis import degradation_index, published, stats
from harness.analysis.request import NO_ARM
from harness.analysis.stats import Estimate
from harness.analysis.tables import Tables
from harness.analysis.verdicts import Allowed, Verdict
from harness.claims.claim import Evidence, MissingRuns, Statistic
from harness.claims.judging import DATA, ELSEWHERE, Outcome, defaults, judge_sweep, same, shown
from harness.config.network import applies
from harness.records import paths, writer
from harness.reporting.document import Badge, Code, Fold, Link, Section, Table, Tally, Text, facts, word
from harness.reporting.document import Part as PagePart

READ = (
    "Reproduced or contradicted: the claim's protocol, 3 seeds or more, and the 95 % interval lies wholly on one side of the "
    "threshold. Undecided: it straddles the threshold. Consistent or inconsistent: only a direction, from another protocol or "
    "fewer seeds. Thresholds were fixed before the runs. A claim of several parts holds where all of them do. Errors are those "
    "at the end; a diverged run counts with the error of a guess."
)
INDEX = (
    "Points of training error for each doubling of depth: the mean over seeds of the slopes over the base-2 logarithm of depth. "
    "Families are ranked among those of equal depths and protocol, the least degraded first."
)
BESIDE = "Test errors in percent; ours are means over seeds with 95 % intervals. Numbers are comparable where nothing differs."
FEW = 2
"""Numbers of a claim that the table of verdicts shows one by one."""
NETS = 60
"""Nets at most that stand beside published numbers."""


def judge(tables: Tables) -> list[Outcome]:
    """Return the outcomes of the claims that judge a sweep, by claim."""
    return sorted(judge_sweep(tables, claims_of(tables)), key=lambda outcome: (outcome.claim.id[0], int(outcome.claim.id[1:])))


def sections(tables: Tables, outcomes: Sequence[Outcome]) -> list[Section]:
    """Return the report's sections on claims, verdicts first; what would say nothing is left out."""
    judged = [outcome for outcome in outcomes if isinstance(outcome.evidence, Evidence)]
    lacking = [outcome for outcome in outcomes if isinstance(outcome.evidence, MissingRuns)]
    found = [_verdicts(judged, len(lacking))]
    if judged:
        found.append(Section("Claim by claim", [_details(outcome, place) for place, outcome in enumerate(judged)]))
    if lacking:
        found.append(_not_run(lacking))
    return [*found, *_indices(tables), *_published(tables)]


def write(tables: Tables, outcomes: Sequence[Outcome]) -> None:
    """Write verdicts.json: what is said of each claim in each setting; numbers in full, null for what is unknown or unbounded."""
    writer.write_json(tables.folder / paths.VERDICTS, {"verdicts": [_record(outcome) for outcome in outcomes]})


def _verdicts(judged: Sequence[Outcome], lacking: int) -> Section:
    settings, places = any(outcome.setting for outcome in judged), {outcome.runs for outcome in judged}
    header = ["claim", "verdict", "published sentence", "found [95 % interval]"]
    header += [*(["runs"] if len(places) > 1 else []), *(["setting"] if settings else [])]
    rows = [
        [
            Link(outcome.claim.id, _anchor(place)),
            Badge(outcome.verdict.value),
            outcome.claim.sentence,
            _in_short(outcome),
            *([outcome.runs] if len(places) > 1 else []),
            *([outcome.setting] if settings else []),
        ]
        for place, outcome in enumerate(judged)
    ]
    if not rows:
        return Section("Verdicts", [Text("No claim has its runs here.")])
    said = Counter(outcome.verdict for outcome in judged)
    counts = [(Badge(verdict.value), said[verdict]) for verdict in reversed(Verdict) if said[verdict]]
    counts += [(Badge(Verdict.NOT_RUN.value), lacking)] if lacking else []
    parts: list[PagePart] = [Tally(counts), Table(header, rows, prose=True, name="verdicts")]
    if len(places) == 1:
        parts.append(Text(f"All from: {places.pop()}."))
    if lacking:
        parts.append(Text("What is not run, in this sweep or in some of its settings, is listed below with what is missing."))
    return Section("Verdicts", [*parts, Fold("How to read the verdicts", [Text(READ)])])


def _anchor(place: int) -> str:
    return f"claim-{place + 1}"


def _in_short(outcome: Outcome) -> str:
    """Return what was found in few words: of many numbers how many hold, and the first that the verdict is from."""
    parts = _parts(outcome)
    numbers = [f"{_number(part.estimate.value, part.unit)}{_interval(part.estimate, ' ')}" for part in parts]
    if len(parts) <= FEW:
        return "; ".join(numbers)
    hold = sum(one.verdict in (Verdict.REPRODUCED, Verdict.CONSISTENT) for one in outcome.judgements)
    first = next(place for place, one in enumerate(outcome.judgements) if one.verdict is outcome.verdict)
    return f"{hold} of {len(parts)} numbers hold; {parts[first].name}: {numbers[first]}"


def _details(outcome: Outcome, place: int) -> Fold:
    claim, found = outcome.claim, outcome.evidence
    about = {"source": claim.source, "rule": claim.rule, "protocol": claim.protocol.value, "runs": outcome.runs}
    if outcome.differences:
        about["differs from the paper"] = ", ".join(outcome.differences)
    if outcome.unfinished:
        about["without a result, so not in it"] = ", ".join(outcome.unfinished)
    if outcome.judgement.needed:
        about["to settle it"] = ", ".join(outcome.judgement.needed)
    numbers = [
        [part.name, _number(part.estimate.value, part.unit), _interval(part.estimate), _claimed(part), str(part.estimate.seeds)]
        for part in _parts(outcome)
    ]
    samples = {name: values for part in _parts(outcome) for name, values in part.values.items()}
    values = [[name, _mean(of), _by_seed(of)] for name, of in samples.items()]
    parts: list[PagePart] = [facts(about), Table(["number", "found", "95 % interval", "claimed", "seeds"], numbers)]
    parts.append(Table(["values of", "mean", "by seed"], values))
    if isinstance(found, Evidence):
        parts += [Text(note) for note in found.notes]
    if outcome.commands:
        parts.append(Text("The runs expected to settle it (those that are done are reused):"))
        parts.append(Code("\n".join(outcome.commands)))
    name = claim.id + (f" ({outcome.setting})" if outcome.setting else "")
    return Fold(name, parts, Badge(outcome.verdict.value), claim.sentence, _anchor(place))


def _not_run(lacking: Sequence[Outcome]) -> Section:
    rows = []
    for outcome in lacking:
        where = f" (in {outcome.setting})" if outcome.setting else ""
        missing = "; ".join(outcome.judgement.needed)
        rows.append([outcome.claim.id, outcome.claim.sentence, f"{missing}{where}", "; ".join(outcome.commands)])
    words = "Each of these claims lacks runs; the command makes those of the first setting that lacks them."
    table = Table(["claim", "published sentence", "missing", "command"], rows, prose=True)
    count = f"{len(rows)} claim{'s' if len(rows) > 1 else ''}, what is missing, and the command that makes it"
    return Section("Claims not run", [Text(words), Fold(count, [table])])


def _indices(tables: Tables) -> list[Section]:
    indices = degradation_index.degradation(tables)
    if not indices:
        return []
    rows, place = [], 0
    for number, one in enumerate(indices):
        new = number == 0 or (indices[number - 1].protocol, indices[number - 1].depths) != (one.protocol, one.depths)
        place = 1 if new else place + 1
        slope = one.slope
        seeds = f"{slope.seeds}" + (f" ({one.left_out} without every depth left out)" if one.left_out else "")
        depths = ", ".join(map(str, one.depths))
        rows.append([str(place), one.family, _number(slope.value, ""), _interval(slope), seeds, depths, one.protocol])
    header = ["rank", "family", "points a doubling", "95 % interval", "seeds", "depths", "protocol"]
    return [Section("Degradation index", [Text(INDEX), Table(header, rows)])]


def _published(tables: Tables) -> list[Section]:
    """Return our test errors beside those published for the same network."""
    keys = ["depth", *(key for key in tables.varying if key not in (*NO_ARM, "depth"))]
    rows, nets = [], 0
    for _, runs in tables.finished.groupby(keys, sort=False, dropna=False):
        own = runs.iloc[0].to_dict()
        peers = published.of(own)
        nets += bool(peers)
        if not peers or nets > NETS:
            continue
        values = runs.drop_duplicates("seed")["test_error"].tolist()
        estimate = stats.mean(values)
        ours = f"{_number(estimate.value, '')}{_interval(estimate, ' ')}"
        named = (key for key in dict.fromkeys([*keys, "shortcut"]) if applies(key, own["shortcut"]))
        net = ", ".join(f"{key}={shown(own[key])}" for key in named)
        for peer in peers:
            differs = ", ".join(_differing(own, peer)) or "nothing"
            rows.append([net, peer.words, ours, str(len(values)), peer.how, f"{peer.source}, {peer.place}", differs])
    if not rows:
        return []
    header = ["net", "published", "ours [95 % interval]", "seeds", "published is", "source", "differs"]
    parts: list[PagePart] = [Text(BESIDE)]
    if len({row[-1] for row in rows}) == 1:
        parts.append(Text(f"What differs from each of them: {rows[0][-1]}."))
        header, rows = header[:-1], [row[:-1] for row in rows]
    parts.append(Table(header, rows, prose=True))
    if nets > NETS:
        parts.append(Text(f"The first {NETS} of {nets} nets."))
    return [Section("Published numbers", parts)]


def _differing(own: Mapping[str, Any], peer: published.Published) -> list[str]:
    """Return the keys in which a run is not as the published one, with both values."""
    if peer.data != DATA:
        return [f"data={own['data']} (published: {peer.data})"]
    paper = defaults(DATA)
    left_open = (*ELSEWHERE, *peer.keys, "data.split", "plugins")
    keys = [
        key for key in paper if key not in left_open and not key.startswith("schedule.warmup") and not same(own[key], paper[key])
    ]
    return [f"{key}={shown(own[key])} (published: {shown(paper[key])})" for key in keys]


def _parts(outcome: Outcome) -> Sequence[Statistic]:
    return outcome.evidence.statistics if isinstance(outcome.evidence, Evidence) else ()


def _claimed(part: Statistic) -> str:
    return _allowed(part.allowed) + (f" {part.unit}" if part.unit else "")


def _allowed(allowed: Allowed) -> str:
    if math.isinf(allowed.high):
        return f"above {allowed.low:g}"
    return f"below {allowed.high:g}" if math.isinf(allowed.low) else f"between {allowed.low:g} and {allowed.high:g}"


def _number(value: float, unit: str) -> str:
    return f"{value:.3g}" + (f" {unit}" if unit else "") if math.isfinite(value) else "unknown"


def _interval(estimate: Estimate, before: str = "") -> str:
    """Return the interval as text; nothing where it is unknown."""
    ends = [f"{end:.3g}" for end in (estimate.low, estimate.high)]
    return f"{before}[{', '.join(ends)}]" if not (math.isnan(estimate.low) or math.isnan(estimate.high)) else ""


def _mean(values: Mapping[int, float]) -> str:
    return word(sum(values.values()) / len(values)) if values else ""


def _by_seed(values: Mapping[int, float]) -> str:
    return ", ".join(f"{seed}: {word(value)}" for seed, value in values.items())


def _record(outcome: Outcome) -> dict[str, Any]:
    claim = outcome.claim
    return {
        "claim": claim.id,
        "sentence": claim.sentence,
        "source": claim.source,
        "protocol": claim.protocol.value,
        "verdict": outcome.verdict.value,
        "settings": [{key: _plain(value) for key, value in setting.items()} for setting in outcome.settings],
        "runs": outcome.runs,
        "parts": [_part(part) for part in _parts(outcome)],
        "differs": list(outcome.differences),
        "needed": list(outcome.judgement.needed),
        "commands": list(outcome.commands),
    }


def _part(part: Statistic) -> dict[str, Any]:
    estimate, allowed = part.estimate, part.allowed
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "above": allowed.low, "below": allowed.high}
    values = {name: {str(seed): _plain(value) for seed, value in by_seed.items()} for name, by_seed in part.values.items()}
    known = {name: _plain(value) for name, value in numbers.items()}
    return {"name": part.name, "unit": part.unit, **known, "seeds": estimate.seeds, "values": values}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: null for what is no finite number."""
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) or (isinstance(value, float) and math.isinf(value)) else value
