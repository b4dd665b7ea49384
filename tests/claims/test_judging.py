"""Verdicts on fabricated sweeps with known results."""

import json
import math
import shlex
from dataclasses import replace

import pytest

from experiments import all_claims, registry
from harness.analysis.verdicts import Verdict
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Setting
from harness.claims.judging import judge_sweep
from harness.records import paths, states
from harness.records.run import create, write_status
from harness.reporting import build
from support import helpers
from support.fabricate import cifar, digits, finish, nets, steps, sweep

CLAIMS = {claim.id: claim for claim in all_claims()}


def judged(tables, name):
    """Return the outcomes of one claim."""
    return list(judge_sweep(tables, [CLAIMS[name]]))


def only(tables, name):
    (outcome,) = judged(tables, name)
    return outcome


def test_every_claim_is_named_once_and_says_what_it_needs():
    claims = [claim for experiment in registry().values() for claim in experiment.claims]
    assert len({claim.id for claim in claims}) == len({id(claim) for claim in claims})  # experiments may share one
    assert {f"D{number}" for number in range(1, 12)} <= {claim.id for claim in claims}
    for claim in CLAIMS.values():
        assert claim.sentence.endswith(".")
        assert claim.rule
        assert claim.source
        assert claim.needs


def test_reproduced_with_the_interval_of_the_textbook(tmp_path):
    """Means 6 and 66, standard deviations 1, three each: Welch's df are 4, t is 2.776, the error sqrt(2/3): 60 ± 2.267."""
    tables = sweep(tmp_path, nets(tmp_path, cifar, {(20, "none"): [5, 6, 7], (110, "none"): [65, 66, 67]}))
    outcome = only(tables, "D1")
    assert outcome.verdict is Verdict.REPRODUCED
    (statistic,) = outcome.evidence.statistics
    assert statistic.estimate.value == 60
    assert statistic.estimate.low == pytest.approx(60 - 2.776 * math.sqrt(2 / 3), abs=1e-3)
    assert statistic.values == {"plain, 20 layers": {0: 5, 1: 6, 2: 7}, "plain, 110 layers": {0: 65, 1: 66, 2: 67}}
    assert outcome.commands == ()
    assert outcome.differences == ()
    assert outcome.runs == "cifar10, 64000 steps, 3 seeds"


def test_contradicted(tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, cifar, {(20, "none"): [5, 5.1, 5.2], (56, "none"): [5, 5.1, 5.2]}))
    assert only(tables, "D1").verdict is Verdict.CONTRADICTED  # 0 ± 0.23, all below 1
    assert only(tables, "D2").verdict is Verdict.CONTRADICTED


def test_undecided_names_the_seeds_that_are_expected_to_settle_it(tmp_path):
    """A rise of 2 with standard deviations of 2: 2 ± 4.5 straddles 1 and needs far more than three seeds."""
    tables = sweep(tmp_path, nets(tmp_path, cifar, {(20, "none"): [4, 6, 8], (56, "none"): [6, 8, 10]}))
    outcome = only(tables, "D1")
    assert outcome.verdict is Verdict.UNDECIDED
    seeds = outcome.judgement.seeds
    assert 20 < seeds < 60
    (command,) = outcome.commands
    assert f"seed=range({seeds})" in shlex.split(command)
    assert {"data=cifar10", "depth=20,56", "schedule.warmup=until_error"} <= set(shlex.split(command))


def test_another_protocol_or_too_few_seeds_give_a_direction(tmp_path):
    rising = sweep(tmp_path / "a", nets(tmp_path / "a", digits, {(20, "none"): [1, 2, 3], (56, "none"): [30, 31, 32]}))
    outcome = only(rising, "D1")
    assert outcome.verdict is Verdict.CONSISTENT
    assert "data=digits (paper: cifar10)" in outcome.differences
    assert "the claim's protocol" in outcome.judgement.needed
    flat = sweep(tmp_path / "b", nets(tmp_path / "b", digits, {(20, "none"): [1, 2, 3], (56, "none"): [1, 2, 3]}))
    assert only(flat, "D1").verdict is Verdict.INCONSISTENT
    few = sweep(tmp_path / "c", nets(tmp_path / "c", cifar, {(20, "none"): [1, 2], (56, "none"): [30, 31]}))
    assert only(few, "D1").verdict is Verdict.CONSISTENT


@pytest.mark.parametrize(
    ("choices", "of_paper"),
    [
        ({"norm": "none"}, False),
        ({"milestones": ()}, False),
        ({"init": "xavier"}, False),
        ({"precision": "bf16"}, True),
        ({"warmup": "none"}, True),
    ],
    ids=str,
)
def test_what_makes_another_protocol(choices, of_paper, tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, cifar, {(20, "none"): [5, 6, 7], (110, "none"): [65, 66, 67]}, **choices))
    outcome = only(tables, "D1")
    assert (outcome.verdict is Verdict.REPRODUCED) == of_paper
    assert len(outcome.differences) == 1


def test_a_claim_for_any_protocol_is_decided_wherever_it_was_run(tmp_path):
    """Gaps of 1, 2, 3 at 20 layers and of 50, 52, 54 at 56, paired by seed: 52 ± 4.97 and, Welch, 50 ± 4.8."""
    errors = {(20, "none"): [2, 4, 6], (20, "identity"): [1, 2, 3], (56, "none"): [60, 63, 66], (56, "identity"): [10, 11, 12]}
    outcome = only(sweep(tmp_path, nets(tmp_path, digits, errors)), "D6")
    assert outcome.verdict is Verdict.REPRODUCED
    gap, growth = (statistic.estimate for statistic in outcome.evidence.statistics)
    assert (gap.value, growth.value) == (52, 50)
    assert gap.high - gap.value == pytest.approx(4.303 * 2 / math.sqrt(3), abs=1e-3)


def test_a_claim_of_several_parts_needs_them_all(tmp_path):
    """The gap is 30 points at either depth: it does not grow."""
    errors = {(20, "none"): [31, 32, 33], (20, "identity"): [1, 2, 3], (56, "none"): [31, 32, 33], (56, "identity"): [1, 2, 3]}
    outcome = only(sweep(tmp_path, nets(tmp_path, digits, errors)), "D6")
    assert outcome.verdict is Verdict.CONTRADICTED


def test_settings_are_judged_apart(tmp_path):
    """With normalisation the error rises by 60, without it falls; mixed, it would rise by 25."""
    rises = nets(tmp_path, cifar, {(20, "none"): [5, 6, 7], (110, "none"): [65, 66, 67]})
    falls = nets(tmp_path, cifar, {(20, "none"): [15, 16, 17], (110, "none"): [5, 6, 7]}, norm="none")
    outcomes = {outcome.setting: outcome for outcome in judged(sweep(tmp_path, rises + falls), "D1")}
    assert {setting: outcome.verdict for setting, outcome in outcomes.items()} == {
        "norm=batch": Verdict.REPRODUCED,
        "norm=none": Verdict.INCONSISTENT,
    }
    assert [outcome.evidence.statistics[0].estimate.value for outcome in outcomes.values()] == [60, -10]


def test_mixing_is_refused(tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, digits, {(20, "none"): [1, 2], (56, "none"): [30, 31]}))
    setting = Setting(tables, tables.finished, ("depth", "shortcut"))
    assert setting.values("train_error", depth=56, shortcut="none") == {0: 30, 1: 31}
    with pytest.raises(ValueError, match="different depth"):
        setting.values("train_error", shortcut="none")


def test_runs_that_differ_in_what_is_looked_at_count_once(tmp_path):
    errors = {(20, "none"): [5, 6, 7], (110, "none"): [65, 66, 67]}
    names = nets(tmp_path, cifar, errors) + nets(tmp_path, cifar, errors, probes=("layers",))
    assert only(sweep(tmp_path, names), "D1").runs.endswith("3 seeds")


def test_a_diverged_run_counts_at_chance(tmp_path):
    names = nets(tmp_path, cifar, {(20, "none"): [5, 6, 7], (110, "none"): [65, 66]})
    names.append(finish(tmp_path, cifar(110, "none", 2), 90.0, 90.0, states.DIVERGED))
    (statistic,) = only(sweep(tmp_path, names), "D1").evidence.statistics
    assert statistic.values["plain, 110 layers"] == {0: 65, 1: 66, 2: 90}


def test_a_run_without_a_result_is_named(tmp_path):
    names = nets(tmp_path, cifar, {(20, "none"): [5, 6, 7], (110, "none"): [65, 66]})
    failed = create(cifar(110, "none", 2), tmp_path)
    write_status(failed, states.FAILED, error="it broke")
    outcome = only(sweep(tmp_path, [*names, failed.name]), "D1")
    assert outcome.unfinished == (failed.name,)
    assert outcome.verdict is Verdict.CONSISTENT  # two seeds at 110 layers
    assert outcome.commands


def test_what_lacks_its_runs_says_which(tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, digits, {(20, "none"): [1, 2, 3]}))
    outcome = only(tables, "D6")
    assert outcome.verdict is Verdict.NOT_RUN
    assert "both at two depths" in outcome.evidence.runs
    (command,) = outcome.commands
    assert command == "python -m harness.run -m depth=20,110 shortcut=none,identity seed=0,1,2"


def test_more_seeds_are_of_the_same_runs(tmp_path):
    """The command has every key of a run's identity, so that finished runs are reused."""
    made = nets(tmp_path, digits, {(20, "none"): [1], (56, "none"): [2], (20, "identity"): [1], (56, "identity"): [1]}, width=4)
    own = [replace(digits(depth, "none", 0, width=4, probes=("layers",))) for depth in (20, 56)]
    schedule = replace(own[0].schedule, milestones=(), eval_every=100)
    other = [replace(one, shortcut=arm, schedule=schedule) for one in own for arm in ("none", "identity")]
    names = [finish(tmp_path, config, 5.0, 5.0) for config in other]
    for runs in (made, names):
        (command,) = only(sweep(tmp_path, runs, label=runs[0]), "D6").commands
        asked = {config.run_name() for config in asked_by(command)}
        assert set(runs) < asked
        assert len(asked) == 12


def test_nothing_finished_is_not_run(tmp_path):
    run = create(digits(20, "none"), tmp_path)
    assert {outcome.verdict for outcome in judge_sweep(sweep(tmp_path, [run.folder.name]), all_claims())} == {Verdict.NOT_RUN}


def asked_by(command):
    """Return the configs that a command requests."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "harness.run", "-m"]
    return [replace(config, device="cpu") for config in helpers.configs_of(words[4:])]


@pytest.mark.parametrize("name", [name for name, claim in CLAIMS.items() if not claim.tables and not claim.measures])
def test_the_command_of_a_claim_makes_the_runs_that_it_needs(name, tmp_path):
    """For every claim: fabricated runs as requested by its own command are judged, under the claim's protocol."""
    run = create(digits(8, "identity"), tmp_path)
    outcome = only(sweep(tmp_path, [run.folder.name]), name)
    assert outcome.verdict is Verdict.NOT_RUN
    configs = [config for command in outcome.commands for config in asked_by(command)]
    assert {config.seed for config in configs} == {0, 1, 2}
    names = []
    for config in configs:
        error = config.depth / 2 + config.seed
        curve = steps(config, loss=[2.0] * 60 + [0.5] * (20 + config.depth), error=[90.0] * 60 + [5.0] * (20 + config.depth))
        names.append(finish(tmp_path, config, error, error, tables=curve))
    outcomes = judged(sweep(tmp_path, names, label="asked"), name)
    assert [type(one.evidence) for one in outcomes if not isinstance(one.evidence, MissingRuns)] == [Evidence], outcomes
    assert all("protocol" not in words for one in outcomes for words in one.judgement.needed)


def with_test(results, make, errors):
    """Write runs with (training error, test error) by seed."""
    return [
        finish(results, make(depth, shortcut, seed), *pair)
        for (depth, shortcut), pairs in errors.items()
        for seed, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("deep", "verdict"),
    [
        ([(21, 26), (22, 27), (23, 28)], Verdict.REPRODUCED),  # test + 20, training + 20: no share of the gap
        ([(2, 26), (3, 27), (4, 28)], Verdict.CONTRADICTED),  # test + 20, training + 1: nearly all of it
        ([(1, 6.4), (2, 7.4), (3, 8.4)], Verdict.NOT_RUN),  # test error rises by 0.4 only: nothing to explain
    ],
)
def test_degradation_or_overfitting(deep, verdict, tmp_path):
    shallow = [(1, 6), (2, 7), (3, 8)]
    tables = sweep(tmp_path, with_test(tmp_path, digits, {(20, "none"): shallow, (56, "none"): deep}))
    assert only(tables, "D7").verdict is verdict


def test_table_6(tmp_path):
    def near(error):
        return [(0.1, error - 0.05), (0.1, error), (0.1, error + 0.05)]

    errors = {(20, "identity"): near(8.7), (56, "identity"): near(7.0), (110, "identity"): near(6.6)}
    tables = sweep(tmp_path / "a", with_test(tmp_path / "a", cifar, errors))
    assert only(tables, "D5").verdict is Verdict.REPRODUCED
    assert only(tables, "D11").verdict is Verdict.REPRODUCED
    assert only(tables, "D4").verdict is Verdict.REPRODUCED
    worse = errors | {(110, "identity"): near(8.6)}
    tables = sweep(tmp_path / "b", with_test(tmp_path / "b", cifar, worse))
    assert only(tables, "D5").verdict is Verdict.CONTRADICTED  # 8.6 is not within 6.61 ± 0.5
    assert only(tables, "D11").verdict is Verdict.CONTRADICTED


def test_plain_110_against_60_percent(tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, cifar, {(110, "none"): [75, 80, 85]}))
    assert only(tables, "D3").verdict is Verdict.REPRODUCED  # 80 ± 12.4


def arms_of_warm_up(results, slow, tests):
    """Write 110 residual layers of three seeds: `slow` steps at 90 % error for each arm, then 50 at 10 %; test errors."""
    names = []
    for warmup, until in slow.items():
        for seed in range(3):
            config = cifar(110, "identity", seed, warmup)
            curve = steps(config, error=[90.0] * (until + seed) + [10.0] * 50)
            names.append(finish(results, config, 1.0, tests[warmup] + 0.1 * seed, tables=curve))
    return sweep(results, names)


def test_without_warm_up_slow_at_first_and_equal_in_the_end(tmp_path):
    """The mean of 50 batches is below 80 % once 7 are at 10 %: 90 - 7 * 80 / 50 = 78.8."""
    outcome = only(arms_of_warm_up(tmp_path, {"none": 600, "until_error": 400}, {"none": 6.6, "until_error": 6.5}), "D8")
    assert outcome.verdict is Verdict.REPRODUCED
    slow, equal = outcome.evidence.statistics
    assert slow.values["residual, 110 layers, without warm-up"] == {0: 607, 1: 608, 2: 609}
    assert slow.estimate.value == 200
    assert equal.estimate.value == pytest.approx(0.1)


def test_faster_without_warm_up_contradicts(tmp_path):
    outcome = only(arms_of_warm_up(tmp_path, {"none": 300, "until_error": 400}, {"none": 6.6, "until_error": 6.5}), "D8")
    assert outcome.verdict is Verdict.CONTRADICTED


def growing(results, needed, had=100_000):
    """Write plain nets of three seeds that reach the loss after `needed` steps by depth, about 1 % apart, if long enough."""
    names = []
    for depth, count in needed.items():
        for seed in range(3):
            config = digits(depth, "none", seed)
            high = round(count * (1 + 0.01 * (seed - 1)))
            curve = steps(config, loss=([2.3] * high + [0.1] * 60)[:had])
            names.append(finish(results, config, 1.0, 1.0, tables=curve))
    return sweep(results, names)


DEPTHS = (8, 20, 32, 44, 56)


def test_exponential_and_linear_growth(tmp_path):
    exponential = only(growing(tmp_path / "a", {depth: 100 * 2 ** ((depth - 8) / 12) for depth in DEPTHS}), "D9")
    assert exponential.verdict is Verdict.REPRODUCED
    assert any("ten more layers take 1.7" in note for note in exponential.evidence.notes)  # 2 ** (10 / 12) = 1.78, and a constant
    linear = only(growing(tmp_path / "b", {depth: 100 + 50 * (depth - 8) for depth in DEPTHS}), "D9")
    assert linear.verdict is Verdict.CONTRADICTED


def test_where_nothing_reaches_the_loss_no_number_of_seeds_settles_it(tmp_path):
    outcome = only(growing(tmp_path, dict.fromkeys(DEPTHS, 500), had=300), "D9")
    assert (outcome.verdict, outcome.commands) == (Verdict.UNDECIDED, ())
    assert outcome.judgement.needed == ("more runs that reach the loss",)


def test_runs_that_never_reach_the_loss_are_counted(tmp_path):
    outcome = only(growing(tmp_path, {depth: 100 * 2 ** ((depth - 8) / 12) for depth in DEPTHS}, had=1000), "D9")
    assert any("3 of 15 runs never reached it and count as censored: 3 at 56 layers." in note for note in outcome.evidence.notes)
    assert outcome.verdict is Verdict.REPRODUCED


def test_each_depth_has_its_best_learning_rate(tmp_path):
    """At 0.02 alone 56 layers would be 58 points worse; at its best rate, 0.0025, they are 10 worse."""
    means = {20: {0.0025: 8, 0.005: 4, 0.01: 2, 0.02: 2.5}, 56: {0.0025: 12, 0.005: 30, 0.01: 40, 0.02: 60}}
    names = [
        finish(tmp_path, digits(depth, "none", seed, rate), mean + 0.1 * seed, 80 - mean)
        for depth, by_rate in means.items()
        for rate, mean in by_rate.items()
        for seed in range(3)
    ]
    outcome = only(sweep(tmp_path, names), "D10")
    assert outcome.verdict is Verdict.REPRODUCED
    assert outcome.evidence.statistics[0].estimate.value == pytest.approx(10)
    assert any("first or last of the rates at 56" in note for note in outcome.evidence.notes)
    assert len(outcome.evidence.statistics[0].values) == 8  # every rate's values are shown


def test_a_rate_of_fewer_seeds_is_not_chosen(tmp_path):
    """One lucky seed at a fifth rate would make 56 layers as good as 20."""
    rates = (0.0025, 0.005, 0.01, 0.02)
    names = [
        finish(tmp_path, digits(depth, "none", seed, rate), error + 0.1 * seed + rate, 1.0)
        for depth, error in ((20, 2.0), (56, 12.0))
        for rate in rates
        for seed in range(3)
    ]
    names += [finish(tmp_path, digits(depth, "none", 0, 0.04), 0.0, 1.0) for depth in (20, 56)]
    outcome = only(sweep(tmp_path, names), "D10")
    assert outcome.evidence.statistics[0].estimate.value == pytest.approx(10)


def test_three_rates_are_not_enough(tmp_path):
    names = [finish(tmp_path, digits(depth, "none", 0, rate), 1.0, 1.0) for depth in (20, 56) for rate in (0.01, 0.02, 0.05)]
    assert "found: 3" in only(sweep(tmp_path, names), "D10").evidence.runs


def test_the_report_begins_with_verdicts_and_names_every_claim(tmp_path):
    errors = {(20, "none"): [5, 6, 7], (20, "identity"): [4, 5, 6], (110, "none"): [65, 66, 67], (110, "identity"): [3, 4, 5]}
    tables = sweep(tmp_path, nets(tmp_path, cifar, errors, test_above=3.0))
    assert build.conclude(tables.folder) == 0
    markdown, html = ((tables.folder / name).read_text() for name in (paths.REPORT_MARKDOWN, paths.REPORT_HTML))
    verdicts = markdown.split("## Verdicts")[1].split("\n## ")[0]
    assert "| D1 | reproduced | The training error of plain nets rises with depth. | 60 points [57.7, 62.3] |" in verdicts
    assert markdown.index("## Verdicts") < markdown.index("## Runs") < markdown.index("## Error against depth")
    for claim in CLAIMS.values():
        assert f"| {claim.id} |" in markdown
        assert f">{claim.id}<" in html
    content = json.loads((tables.folder / paths.VERDICTS).read_text())["verdicts"]
    assert {one["claim"] for one in content} == set(CLAIMS)
    assert next(one for one in content if one["claim"] == "D1")["parts"][0]["value"] == 60


def test_an_experiment_is_judged_by_its_own_claims(tmp_path):
    tables = sweep(tmp_path, nets(tmp_path, digits, {(20, "none"): [5, 6, 7]}), experiment="convergence_rate")
    assert build.conclude(tables.folder) == 0
    content = json.loads((tables.folder / paths.VERDICTS).read_text())["verdicts"]
    assert [(one["claim"], one["verdict"]) for one in content] == [("D9", "not run")]


def test_what_a_claim_says_is_escaped(tmp_path, monkeypatch):
    bad = replace(CLAIMS["D3"], sentence="<script>|</script>", find=lambda setting: MissingRuns("<b>"))
    assert isinstance(bad, Claim)
    monkeypatch.setattr("harness.reporting.verdict_sections.of_sweep", lambda tables: Experiment("", (), (bad,)))
    tables = sweep(tmp_path, nets(tmp_path, digits, {(20, "none"): [5]}))
    assert build.conclude(tables.folder) == 0
    assert "<script>|" not in (tables.folder / paths.REPORT_HTML).read_text()
    assert "<script>" not in (tables.folder / paths.REPORT_MARKDOWN).read_text()
