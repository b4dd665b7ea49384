"""Claims of He et al. 2016 (S1 to S7, A1 to A5) and on the strength of the skip (K1), on fabricated sweeps."""

import pytest

from experiments import all_claims
from harness.analysis.verdicts import Verdict
from harness.claims.claim import Evidence, MissingRuns
from harness.claims.judging import judge_sweep
from harness.records import paths
from harness.reporting import build
from support.fabricate import cifar, digits, finish, sweep

CLAIMS = {claim.id: claim for claim in all_claims()}
SCALED = {"shortcut_scale": 0.5, "branch_scale": 1.0}


def only(tables, name):
    (outcome,) = judge_sweep(tables, [CLAIMS[name]])
    return outcome


def of(results, tests, depth=110, shortcut="identity", make=cifar, train=0.0, **keys):
    """Return the names of runs with these test errors by seed."""
    return [finish(results, make(depth, shortcut, seed, **keys), train, test) for seed, test in enumerate(tests)]


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "A4", "A5", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "D5"])
def test_the_numbers_in_a_sentence_are_those_it_is_judged_by(name):
    numbers = CLAIMS[name].find.keywords["numbers"]
    said = [number.removesuffix(",") for number in CLAIMS[name].sentence.removesuffix(".").split()]
    assert all(f"{number.error:g}" in said for number in numbers.values())
    assert CLAIMS[name].sentence.count("above") == sum(number.above for number in numbers.values())


@pytest.mark.parametrize(
    ("claim", "shortcut", "keys", "tests", "verdict"),
    [
        ("S1", "identity", {}, [6.5, 6.6, 6.7], Verdict.REPRODUCED),  # 6.61 in the table, within 0.7
        ("S1", "identity", {}, [7.5, 7.6, 7.7], Verdict.CONTRADICTED),
        ("S1", "identity", {}, [6.0, 6.6, 8.0], Verdict.UNDECIDED),
        ("S2", "scaling", SCALED, [88.0, 89.0, 90.0], Verdict.REPRODUCED),  # training failed: above 20
        ("S2", "scaling", SCALED, [12.0, 12.1, 12.2], Verdict.CONTRADICTED),
        ("S3", "scaling", {}, [12.3, 12.35, 12.4], Verdict.REPRODUCED),  # shortcut and branch times 0.5
        ("S6", "projection_all", {}, [12.2, 12.2, 12.3], Verdict.REPRODUCED),
        ("S7", "dropout", {}, [90.0, 90.0, 90.0], Verdict.REPRODUCED),
        ("S7", "dropout", {}, [90.0, 90.0], Verdict.CONSISTENT),  # two seeds
    ],
)
def test_a_shortcut_against_its_number(claim, shortcut, keys, tests, verdict, tmp_path):
    assert only(sweep(tmp_path, of(tmp_path, tests, shortcut=shortcut, **keys)), claim).verdict is verdict


def test_gates_are_judged_by_bias_and_need_them_all(tmp_path):
    errors = {0.0: 50, -5.0: 40, -6.0: 8.7, -7.0: 9.8}
    runs = {
        bias: of(tmp_path, [error, error + 0.1, error + 0.2], shortcut="exclusive_gate", gate_bias=bias)
        for bias, error in errors.items()
    }
    outcome = only(sweep(tmp_path, [name for names in runs.values() for name in names]), "S4")
    assert outcome.verdict is Verdict.REPRODUCED
    assert [statistic.estimate.value for statistic in outcome.evidence.statistics] == pytest.approx([50.1, 40.1, 8.8, 9.9])
    lacking = only(sweep(tmp_path, runs[0.0] + runs[-6.0], label="lacking"), "S4").evidence
    assert isinstance(lacking, MissingRuns)
    assert "bias -5 and exclusive gate of bias -7" in lacking.runs


def test_a_published_error_says_nothing_of_other_images(tmp_path):
    outcome = only(sweep(tmp_path, of(tmp_path, [6.6, 6.6, 6.6], make=digits)), "S1")
    assert outcome.verdict is Verdict.NOT_RUN
    assert "CIFAR-10" in outcome.evidence.runs
    assert "data=cifar10" in outcome.commands[0]


BOTTLENECK = {"depth": 164, "shortcut": "projection", "block": "bottleneck"}


def test_an_order_of_activations_is_judged_at_both_depths(tmp_path):
    """Table 2: full pre-activation, 6.37 at 110 and 5.46 at 164 layers; Table 3: 4.92 at 1001."""
    shallow = of(tmp_path, [6.3, 6.4, 6.5], order="preactivation")
    deep = of(tmp_path, [5.4, 5.5, 5.5], order="preactivation", **BOTTLENECK)
    assert only(sweep(tmp_path, shallow, label="half"), "A5").verdict is Verdict.NOT_RUN
    outcome = only(sweep(tmp_path, shallow + deep), "A5")
    assert outcome.verdict is Verdict.REPRODUCED
    assert outcome.evidence.notes[0].startswith("Not run here: 1001 layers (Table 3: 4.92)")
    deepest = of(tmp_path, [7.6, 7.6, 7.7], order="preactivation", **BOTTLENECK | {"depth": 1001})
    outcome = only(sweep(tmp_path, shallow + deep + deepest, label="all"), "A5")
    assert outcome.verdict is Verdict.CONTRADICTED  # 7.6 is what the original order has there
    assert [statistic.allowed.low for statistic in outcome.evidence.statistics] == pytest.approx([5.87, 4.96, 4.42])
    assert only(sweep(tmp_path, shallow + deep, label="other"), "A1").verdict is Verdict.NOT_RUN


def strengths(results, errors):
    """Return the names of runs with these training errors by seed, for (depth, lambda)."""
    return [
        finish(results, digits(depth, "scaling", seed, shortcut_scale=strength, branch_scale=1.0), error, error)
        for (depth, strength), by_seed in errors.items()
        for seed, error in enumerate(by_seed)
    ]


@pytest.mark.parametrize(
    ("deep", "verdict"),
    [
        ([30, 31, 32], Verdict.REPRODUCED),
        ([0.1, 0.2, 0.3], Verdict.CONTRADICTED),
        ([0, 30, 60], Verdict.UNDECIDED),
        ([30, 31], Verdict.CONSISTENT),
    ],
)
def test_half_a_skip(deep, verdict, tmp_path):
    count = len(deep)
    errors = {(20, 0.5): [0.2] * count, (20, 1.0): [0.1] * count, (56, 0.5): deep, (56, 1.0): [0] * count, (56, 0.9): [2] * count}
    outcome = only(sweep(tmp_path, strengths(tmp_path, errors)), "K1")
    assert outcome.verdict is verdict
    assert isinstance(outcome.evidence, Evidence)
    assert outcome.evidence.notes[0].endswith("at lambda none, of 0.5.")
    if verdict is Verdict.REPRODUCED:
        assert outcome.evidence.notes[1].endswith("at lambda 0.5, 0.9, of 0.5, 0.9.")


def test_arms_are_named_by_what_does_something_in_them(tmp_path):
    names = of(tmp_path, [6.6]) + of(tmp_path, [20], shortcut="scaling", **SCALED)
    names += of(tmp_path, [8], shortcut="exclusive_gate", gate_bias=-5.0)
    tables = sweep(tmp_path, names, "shortcuts")
    assert tables.x == "depth"  # not branch_scale, which two of the runs lack
    arms = ["shortcut=identity", "shortcut=scaling, branch_scale=1", "shortcut=exclusive_gate, gate_bias=-5"]
    assert tables.runs["arm"].tolist() == arms
    assert build.conclude(tables.folder) == 0
    rows = [line for line in (tables.folder / paths.REPORT_MARKDOWN).read_text().splitlines() if "| done |" in line]
    assert [row.split("|")[1:4] for row in rows] == [
        [" identity ", "  ", "  "],
        [" scaling ", " 1 ", "  "],
        [" exclusive_gate ", "  ", " -5 "],
    ]
    assert (tables.folder / paths.FIGURES / "by-arm.png").is_file()


def test_a_picture_may_have_an_axis_of_its_own(tmp_path):
    names = strengths(tmp_path, {(depth, strength): [1] for depth in (20, 56) for strength in (0.0, 1.0)})
    tables = sweep(tmp_path, names, "skip_strength")
    assert (tables.x, tables.runs["arm"].tolist()) == ("depth", [f"shortcut_scale={end}" for end in (0, 1, 0, 1)])
    turned = tables.along("shortcut_scale", tables.finished)
    assert turned["x"].tolist() == [0.0, 1.0, 0.0, 1.0]
    assert turned["arm"].tolist() == ["depth=20", "depth=20", "depth=56", "depth=56"]
    assert tables.along("gate_bias", tables.finished) is tables.finished
