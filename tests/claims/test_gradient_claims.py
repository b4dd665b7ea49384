"""Claims on gradients and responses, on fabricated tables and on one tiny trained sweep."""

import math

import numpy as np
import pandas as pd
import pytest

from experiments import find, layer_responses, vanishing_gradient
from experiments.vanishing_gradient import DURING, LATER, START, balance, fall, growth
from harness import run
from harness.analysis.tables import Tables
from harness.analysis.theory import GRADIENT_FACTOR
from harness.analysis.verdicts import Verdict
from harness.claims.claim import MissingRuns
from harness.claims.judging import judge_sweep
from harness.records import paths, schema, states
from support.fabricate import digits, finish, sweep
from support.helpers import KEYS

STEPS = [0, 1, 5, 10, 20, 1000]
SEEDS = (0, 1, 2)
SCATTER = (0.97, 1.0, 1.03)
"""Factor of each seed's measurements."""
FLOAT32 = np.finfo(np.float32)


def blocks_table(norms, elements=4096, steps=(0,)):
    """Return blocks.csv.gz with these gradient norms, from the stem on, at every step."""
    rows = [
        {"step": step, "block": block, "name": f"b{block}", "stage": 1, "forward_norm": 64.0, "grad_norm": norm, "nonzero": 1}
        for step in steps
        for block, norm in enumerate(norms)
    ]
    return pd.DataFrame(rows).assign(elements=elements)[list(schema.COLUMNS[paths.probe_table("blocks")])]


def layers_table(first_over_last, response=1.0, layers=3):
    """Return layers.csv.gz of some convolutions and a linear layer: ||dL/dW|| of the first by step, others 1, ||W|| 1.

    The linear layer and a projection have gradients and responses that would spoil every number, were they counted.
    """
    rows = []
    for step, ratio in first_over_last.items():
        kinds = [*["conv"] * layers, "linear", "projection"]
        for number, kind in enumerate(kinds, 1):
            norm = {"conv": ratio if number == 1 else 1.0}.get(kind, 1e9)
            spread = response if kind == "conv" else 1e9
            layer = None if kind == "projection" else number
            rows.append(
                {"step": step, "layer": layer, "name": f"l{number}", "kind": kind, "grad_norm": norm, "response_std": spread}
            )
    table = pd.DataFrame(rows).assign(weight_norm=1.0, update_norm=0.1, nonzero=1, elements=1)
    return table[list(schema.COLUMNS[paths.probe_table("layers")])]


def tables(blocks=None, layers=None):
    named = {"blocks": blocks, "layers": layers}
    return {paths.probe_table(name): table for name, table in named.items() if table is not None}


def outcomes(results, names, *claims):
    return {outcome.claim.id: outcome for outcome in judge_sweep(sweep(results, names), claims)}


def plain(results, norm, blocks_of, depths=(20, 56, 110), **choices):
    """Write plain nets of three seeds, with `blocks_of(depth, factor)` as blocks table; return their names."""
    return [
        finish(results, digits(depth, "none", seed, norm=norm, **choices), 1.0, 2.0, tables=tables(blocks_of(depth, factor)))
        for depth in depths
        for seed, factor in zip(SEEDS, SCATTER, strict=True)
    ]


@pytest.mark.parametrize(
    ("per_layer", "expected"),
    [(-0.1, Verdict.REPRODUCED), (0.1, Verdict.CONTRADICTED), (0.0, Verdict.UNDECIDED)],
)
def test_g1_is_the_slope_over_depth(tmp_path, per_layer, expected):
    """Stem over last block is 10^(per_layer * depth), so the slope is per_layer for every seed."""

    def fading(depth, factor):
        tilt = factor ** (depth / 50)  # so that slopes of seeds differ
        return blocks_table([tilt * 10 ** (per_layer * depth), 7.0, 1.0])

    outcome = outcomes(tmp_path, plain(tmp_path, "none", fading), vanishing_gradient.G1)["G1"]
    assert outcome.verdict is expected
    (statistic,) = outcome.evidence.statistics
    assert statistic.estimate.value == pytest.approx(per_layer, abs=1e-3)
    assert statistic.values["56 layers"][1] == pytest.approx(56 * per_layer)


@pytest.mark.parametrize(("precision", "smallest"), [("fp32", FLOAT32.smallest_subnormal), ("bf16", FLOAT32.tiny)])
def test_g1_takes_a_gradient_of_zero_for_the_largest_that_it_can_have_been(tmp_path, precision, smallest):
    """4096 elements of the smallest number have 64 times its norm. Below it the slope is unbounded."""

    def vanished(depth, factor):
        return blocks_table([0.0 if depth == 110 else factor * 10.0 ** (-0.3 * depth), 1.0])

    outcome = outcomes(tmp_path, plain(tmp_path, "none", vanished, precision=precision), vanishing_gradient.G1)["G1"]
    (statistic,) = outcome.evidence.statistics
    assert statistic.values["110 layers"][0] == pytest.approx(math.log10(64 * float(smallest)), abs=0.01)
    assert statistic.estimate.low == -math.inf
    assert outcome.verdict is Verdict.REPRODUCED
    assert outcome.evidence.notes == ("3 of 9 gradients at the stem are exactly zero",)


def test_g1_needs_two_depths_without_normalisation(tmp_path):
    names = plain(tmp_path, "none", lambda depth, factor: blocks_table([factor, 1.0]), depths=(20,))
    outcome = outcomes(tmp_path, names, vanishing_gradient.G1)["G1"]
    assert outcome.verdict is Verdict.NOT_RUN
    assert isinstance(outcome.evidence, MissingRuns)


@pytest.mark.parametrize(
    ("rate", "expected"), [(GRADIENT_FACTOR, Verdict.REPRODUCED), (1.0, Verdict.CONTRADICTED), (1.05, Verdict.UNDECIDED)]
)
def test_g2_is_the_growth_per_layer_at_every_depth(tmp_path, rate, expected):
    """Gradients grow by rate^2 per block of two layers; rates of seeds differ by 0.1 %."""

    def growing(depth, factor):
        blocks, own = (depth - 2) // 2, rate * factor ** (1 / 30)
        return blocks_table([own ** (2 * (blocks - block)) for block in range(blocks + 1)])

    outcome = outcomes(tmp_path, plain(tmp_path, "batch", growing, depths=(20, 56)), vanishing_gradient.G2)["G2"]
    assert outcome.verdict is expected
    assert [statistic.name for statistic in outcome.evidence.statistics] == [
        "growth per layer, 20 layers",
        "growth per layer, 56 layers",
    ]
    for statistic in outcome.evidence.statistics:
        assert statistic.estimate.value == pytest.approx(rate, rel=1e-3)


def test_growth_and_fall_by_hand():
    """Norms 8, 4, 2: ln 2 per block, and the stem has four times the norm of the last block. Only step 0 counts."""
    later = blocks_table([1.0, 1.0, 1.0], steps=(1, 2))
    table = pd.concat([blocks_table([8.0, 4.0, 2.0]), later], ignore_index=True)
    assert growth(table)["growth"].tolist() == pytest.approx([math.log(2)])
    assert growth(table)["blocks"].tolist() == [2]
    assert fall(table)["fall"].tolist() == pytest.approx([math.log10(4)])
    assert growth(blocks_table([8.0, 0.0, 2.0])).empty
    assert fall(blocks_table([8.0, math.nan, 0.0])).empty
    assert fall(blocks_table([math.inf, 1.0])).empty


def test_balance_by_hand():
    """The median over steps 1 to 10 of 1, 2 and 9 powers of ten is 2; zeros and non-finite values are at the bounds."""
    measured = balance(layers_table({0: 100.0, 1: 10.0, 2: 100.0, 10: 1e9, 11: 0.0, 12: math.inf, 13: math.nan, 14: 1.0}))
    assert measured[START].tolist() == pytest.approx([2])
    assert measured[DURING].tolist() == pytest.approx([2])
    assert measured[LATER].tolist() == pytest.approx([3])  # of -6, 6, 6, 0
    assert np.isnan(balance(layers_table({0: 1.0, 5: 1.0}))[LATER].iloc[0])


def balanced(results, shortcut, ratios, state=states.DONE, depth=56):
    """Write three seeds of a net with these ratios of first over last by step, scattered by seed; return their names."""
    return [
        finish(
            results,
            digits(depth, shortcut, seed),
            1.0,
            2.0,
            state,
            tables(layers=layers_table({step: factor * ratio for step, ratio in ratios.items()})),
        )
        for seed, factor in zip(SEEDS, SCATTER, strict=True)
    ]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ({0: 1e6, 1: 5.0, 5: 0.2, 10: 3.0, 20: 50.0, 1000: 0.02}, Verdict.REPRODUCED),  # step 0 does not count
        ({0: 1.0, 1: 1.0, 5: 1.0, 10: 1e9, 20: 1e-4, 1000: 1e-7}, Verdict.CONTRADICTED),  # vanished later
        ({0: 1.0, 1: 1e4, 5: 1.0, 10: 1e-9, 20: 1.0, 1000: 1.0}, Verdict.REPRODUCED),  # one wild step on either side
        ({0: 1.0, 1: 100.0, 5: 100.0, 10: 100.0, 20: 1.0, 1000: 1.0}, Verdict.UNDECIDED),  # at the threshold
    ],
)
def test_g3_asks_for_health_once_training_has_begun(tmp_path, ratios, expected):
    outcome = outcomes(tmp_path, balanced(tmp_path, "none", ratios), vanishing_gradient.G3)["G3"]
    assert outcome.verdict is expected
    assert len(outcome.evidence.statistics) == 2


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        (dict.fromkeys(STEPS, 3.0), Verdict.REPRODUCED),
        (dict.fromkeys(STEPS, 3.0) | {0: 30.0}, Verdict.CONTRADICTED),  # step 0 counts
        (dict.fromkeys(STEPS, 0.01), Verdict.CONTRADICTED),
    ],
)
def test_g4_asks_for_an_even_gradient_always(tmp_path, ratios, expected):
    outcome = outcomes(tmp_path, balanced(tmp_path, "identity", ratios), vanishing_gradient.G4)["G4"]
    assert outcome.verdict is expected
    assert len(outcome.evidence.statistics) == 3


def test_a_run_that_diverged_before_a_moment_counts_as_exploded(tmp_path):
    names = balanced(tmp_path, "identity", {0: 1.0, 1: 1.0}, states.DIVERGED)
    outcome = outcomes(tmp_path, names, vanishing_gradient.G4)["G4"]
    later = next(statistic for statistic in outcome.evidence.statistics if statistic.name.endswith(LATER))
    assert list(later.values.values()) == [{0: 6.0, 1: 6.0, 2: 6.0}]
    assert outcome.verdict is Verdict.CONTRADICTED


def test_settings_are_judged_apart(tmp_path):
    """The same net with two initialisations: one vanishes, one does not."""
    names = []
    for init, per_layer in (("he", 0.0), ("xavier", -0.2)):
        for depth in (20, 56):
            for seed, factor in zip(SEEDS, SCATTER, strict=True):
                blocks = blocks_table([factor ** (depth / 50) * 10 ** (per_layer * depth), 1.0])
                config = digits(depth, "none", seed, norm="none", init=init)
                names.append(finish(tmp_path, config, 1.0, 2.0, tables=tables(blocks)))
    judged = judge_sweep(sweep(tmp_path, names), (vanishing_gradient.G1,))
    assert {outcome.setting: outcome.verdict for outcome in judged} == {
        "init=he": Verdict.UNDECIDED,
        "init=xavier": Verdict.REPRODUCED,
    }


def responding(results, sizes):
    """Write three seeds of nets by (depth, shortcut) with this mean response at the end, 50 before; return their names."""
    names = []
    for (depth, shortcut), size in sizes.items():
        for seed, factor in zip(SEEDS, SCATTER, strict=True):
            before, end = layers_table({0: 1.0}, 50.0), layers_table({1000: 1.0}, factor * size)
            layers = pd.concat([before, end], ignore_index=True)
            names.append(finish(results, digits(depth, shortcut, seed), 1.0, 2.0, tables=tables(layers=layers)))
    return names


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1.0, 1.0, 0.5, 0.3), Verdict.REPRODUCED),
        ((1.0, 1.0, 0.5, 0.5), Verdict.CONTRADICTED),  # not smaller when deeper
        ((1.0, 0.2, 0.5, 0.3), Verdict.CONTRADICTED),  # larger than plain at 56
        ((1.0, 1.0, 0.5, 0.45), Verdict.UNDECIDED),  # 0.9 when deeper
    ],
)
def test_g6_compares_with_plain_nets_and_with_shallower_ones(tmp_path, sizes, expected):
    arms = [(20, "none"), (56, "none"), (20, "identity"), (56, "identity")]
    names = responding(tmp_path, dict(zip(arms, sizes, strict=True)))
    outcome = outcomes(tmp_path, names, layer_responses.G6)["G6"]
    assert outcome.verdict is expected
    ratios = [statistic.estimate.value for statistic in outcome.evidence.statistics]
    assert ratios == pytest.approx([sizes[2] / sizes[0], sizes[3] / sizes[1], sizes[3] / sizes[2]])


def test_g6_without_plain_nets_is_not_run(tmp_path):
    names = responding(tmp_path, {(20, "identity"): 1.0, (56, "identity"): 0.5})
    assert outcomes(tmp_path, names, layer_responses.G6)["G6"].verdict is Verdict.NOT_RUN


def test_the_experiments_are_found_with_their_claims():
    assert [claim.id for claim in find("vanishing_gradient").claims] == ["G1", "G2", "G3", "G4"]
    assert [claim.id for claim in find("layer_responses").claims] == ["G6"]


def test_a_sweep_that_was_trained_is_judged_by_all_of_them(tmp_path):
    """Depths 8 and 14, 12 steps, one seed: every claim gets at least a direction, and figures have theory."""
    arguments = ["depth=8,14", "shortcut=none,identity", "norm=batch,none", f"results={tmp_path}"]
    assert run.main(["-m", "launcher=inline", "experiment=vanishing_gradient", "init=he", "seed=0", *arguments, *KEYS]) == 0
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    claims = (*vanishing_gradient.EXPERIMENT.claims, *layer_responses.EXPERIMENT.claims)
    judged = list(judge_sweep(Tables(folder), claims))
    assert {outcome.claim.id for outcome in judged} == {"G1", "G2", "G3", "G4", "G6"}
    assert all(outcome.verdict in (Verdict.CONSISTENT, Verdict.INCONSISTENT) for outcome in judged)
    first = next(outcome for outcome in judged if outcome.claim.id == "G1").evidence.statistics[0]
    assert first.estimate.value < 0  # from padding on maps of 8, 4 and 2 alone
    assert "G2" in (folder / paths.REPORT_MARKDOWN).read_text()
    names = {path.name for path in (folder / paths.FIGURES).iterdir()}
    assert {"branches.png", "first-layer.png", "activations.png"} <= names
