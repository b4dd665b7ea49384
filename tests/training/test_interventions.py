"""Claims about interventions (G5, C1, L1) on sweeps made by hand with known verdicts."""

import shlex

import pandas as pd
import pytest

from experiments import all_claims
from harness.analysis.verdicts import Verdict
from harness.claims.claim import MissingRuns
from harness.claims.judging import judge_sweep
from harness.records import paths, writer
from support.fabricate import digits, finish, sweep
from support.helpers import configs_of

CLAIMS = {claim.id: claim for claim in all_claims()}


def only(tables, name):
    (outcome,) = judge_sweep(tables, [CLAIMS[name]])
    return outcome


def scaled(results, errors):
    """Write plain runs and return their names; `errors` maps (depth, norm, update_scaling) to the training error of each seed."""
    return [
        finish(results, digits(depth, "none", seed, norm=norm, update_scaling=scaling), error, error)
        for (depth, norm, scaling), by_seed in errors.items()
        for seed, error in enumerate(by_seed)
    ]


SHALLOW = {(20, "batch", "none"): [1, 2, 3], (20, "batch", "layerwise"): [1, 2, 3]}


@pytest.mark.parametrize(
    ("deep", "verdict", "words"),
    [
        ([14.0, 16.1, 15.0], Verdict.REPRODUCED, "rises by 13.00 points, with equal steps by 13.03"),  # 0, +0.1, 0
        ([2.0, 3.1, 4.0], Verdict.CONTRADICTED, "rises by 13.00 points, with equal steps by 1.03."),
        ([29.0, 31.1, 30.0], Verdict.REPRODUCED, "they make the rise larger"),
        ([10.0, 20.0, 16.0], Verdict.UNDECIDED, "points"),
    ],
)
def test_equal_steps_that_take_less_than_a_point_off_the_rise(deep, verdict, words, tmp_path):
    own = [14.0, 16.0, 15.0]
    tables = sweep(tmp_path, scaled(tmp_path, SHALLOW | {(56, "batch", "none"): own, (56, "batch", "layerwise"): deep}))
    outcome = only(tables, "G5")
    assert outcome.verdict is verdict
    assert words in outcome.evidence.notes[0]
    assert ("larger" in outcome.evidence.notes[0]) == (sum(deep) > sum(own) + 3)
    assert len(outcome.evidence.notes) == 1


def test_without_degradation_there_is_nothing_to_attribute(tmp_path):
    flat = {(56, "batch", scaling): [1, 2, 3.5] for scaling in ("none", "layerwise")}
    outcome = only(sweep(tmp_path, scaled(tmp_path, SHALLOW | flat)), "G5")
    assert outcome.verdict is Verdict.NOT_RUN
    assert "get worse with depth (from 20 to 56: 0.17)" in outcome.evidence.runs


def test_the_arm_without_norms_is_shown_beside_and_never_mixed_in(tmp_path):
    deep = {(56, "batch", scaling): [14, 16, 15] for scaling in ("none", "layerwise")}
    bare = {(20, "none", "none"): [80, 90, 85], (20, "none", "layerwise"): [10, 20, 15]}
    outcome = only(sweep(tmp_path, scaled(tmp_path, SHALLOW | deep | bare)), "G5")
    assert outcome.evidence.statistics[0].estimate.value == 0
    assert "without normalisation, 20 layers: 85.00 to 15.00 %" in outcome.evidence.notes[1]


def start_row(loss, config):
    """Return epochs.csv of a run that starts from another: training loss `loss` at step 0, 0.1 at the end."""
    rows = [{"step": 0, "epoch": 0, "train_loss": loss, "train_error": 3.0, "test_error": 4.0, "seconds": 0.5}]
    last = {"step": config.schedule.steps, "epoch": 1, "train_loss": 0.1, "train_error": 2.0, "test_error": 4.0, "seconds": 1.0}
    return {paths.EPOCHS: writer.make_table(paths.EPOCHS, [*rows, last])}


def construction(results, start_losses, deep):
    """Write a sweep of plain nets: 20 layers (training errors 1.0, 1.1, 1.2 %; loss 0.1), 56 from scratch, 56 from 20."""
    names = []
    for seed, loss in enumerate(start_losses):
        extended = digits(56, "none", seed, start_from=20)
        names.append(finish(results, extended.shallower(), 1.0 + seed / 10, 4.0))
        names.append(finish(results, digits(56, "none", seed), deep[seed], 20.0))
        names.append(finish(results, extended, 2.0, 4.0, tables=start_row(loss, extended)))
    return sweep(results, names)


@pytest.mark.parametrize(
    ("losses", "deep", "verdict"),
    [
        ([0.1, 0.1 + 1e-7, 0.1 - 1e-7], [11.0, 12.0, 13.5], Verdict.REPRODUCED),
        ([0.1, 0.1, 0.1], [1.0, 2.0, 3.0], Verdict.UNDECIDED),  # 0.9 ± 2.5
        ([0.1, 0.1, 0.1], [1.0, 1.1, 1.2], Verdict.CONTRADICTED),  # 0 ± 0.23
        ([0.1 + 2e-5] * 3, [11.0, 12.0, 13.5], Verdict.CONTRADICTED),
    ],
)
def test_an_extended_net_has_the_loss_of_the_shallower_and_one_from_scratch_is_worse(losses, deep, verdict, tmp_path):
    outcome = only(construction(tmp_path, losses, deep), "C1")
    assert outcome.verdict is verdict
    assert "end at a training error of 2.00, 2.00, 2.00 %" in outcome.evidence.notes[0]
    assert set(outcome.evidence.statistics[0].values) == {"56 layers from 20, step 0", "20 layers, end"}


def test_without_the_net_from_scratch_or_the_one_extended_the_claim_is_not_run(tmp_path):
    extended = digits(56, "none", start_from=20)
    names = [
        finish(tmp_path, extended.shallower(), 1.0, 4.0),
        finish(tmp_path, extended, 2.0, 4.0, tables=start_row(0.1, extended)),
    ]
    outcome = only(sweep(tmp_path, names), "C1")
    assert isinstance(outcome.evidence, MissingRuns)
    asked = configs_of(shlex.split(outcome.commands[0])[4:])
    assert {(config.depth, config.shortcut, config.start_from) for config in asked} == {(56, "none", "none"), (56, "none", 20)}
    shallower = {config.shallower() for config in asked} - {None}
    assert {(config.depth, config.seed) for config in shallower} == {(20, 0), (20, 1), (20, 2)}  # added by the sweep


def lesioned(results, arm, seed, whole, without):
    """Write a run of 20 layers; `whole` is its test error, `without` its test errors with each block removed."""
    config = digits(20, arm, seed, probes=("lesions",))
    about = {"step": 1000, "block": range(1, 10), "name": "stages.0.0", "stage": 1, "test_loss": 1.0}
    table = pd.DataFrame(about | {"test_error": without})
    return finish(results, config, 0.0, whole, tables={paths.probe_table("lesions"): table})


@pytest.mark.parametrize(
    ("plain", "residual", "verdict"),
    [
        (82.0, 4.0, Verdict.REPRODUCED),
        (22.0, 4.0, Verdict.CONTRADICTED),  # plain rises by 20
        (82.0, 12.0, Verdict.CONTRADICTED),  # residual rises by 10
    ],
)
def test_the_median_over_the_blocks_of_the_rise_of_the_test_error(plain, residual, verdict, tmp_path):
    """Two of nine blocks are outliers, which do not move the median; the whole nets have errors of 2.0, 2.1 and 2.2 %."""
    names = []
    for seed in range(3):
        for arm, median in (("none", plain), ("identity", residual)):
            names.append(lesioned(tmp_path, arm, seed, 2 + 0.1 * seed, [0.0, *[median] * 7, 90.0]))
    outcome = only(sweep(tmp_path, names), "L1")
    assert outcome.verdict is verdict
    assert [part.estimate.value for part in outcome.evidence.statistics] == pytest.approx([residual - 2.1, plain - 2.1])


def test_a_net_that_learned_nothing_is_not_judged_by_what_a_lesion_takes(tmp_path):
    names = [lesioned(tmp_path, arm, 0, 85.0, [85.0] * 9) for arm in ("none", "identity")]
    outcome = only(sweep(tmp_path, names), "L1")
    assert outcome.verdict is Verdict.NOT_RUN
    assert "probes=[lesions]" in outcome.commands[0]
