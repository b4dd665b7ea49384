"""Estimates and verdicts: hand calculations, scipy as a reference, and edge cases; error rates are in test_verdict_rules.py."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize, stats

from harness.analysis.growth_models import Growth, compare_growth, judge_growth
from harness.analysis.stats import (
    NOTHING,
    antilog,
    difference,
    difference_of_gaps,
    gaps,
    mean,
    mean_of_slopes,
    paired_difference,
    slope,
)
from harness.analysis.verdicts import Allowed, Judgement, Verdict, above, below, every, judge, near, seeds_to_decide, verdict

INFINITY = math.inf
errors = st.floats(0, 100).map(lambda value: round(value, 3))
samples = st.lists(errors, min_size=3, max_size=8)


def interval(estimate):
    return pytest.approx((estimate.low, estimate.high), rel=1e-9)


def test_a_mean_by_hand():
    """1, 2, 3: mean 2, standard deviation 1, error 1/sqrt(3) = 0.577350, t of 2 df 4.302653, half-width 2.484138."""
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.spread, found.seeds, found.df) == (2.0, 1.0, 3, 2)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert found.expected(3) == interval(found)


def test_paired_differences_are_by_equal_seeds_by_hand():
    """Seeds 0, 1, 2 differ by 4, 5, 6; seeds 7 and 9 have no partner: mean 5 and the half-width from above."""
    plain, residual = {2: 9.0, 0: 5.0, 1: 7.0, 7: 50.0}, {0: 1.0, 1: 2.0, 2: 3.0, 9: 100.0}
    assert gaps(plain, residual) == [4.0, 5.0, 6.0]
    found = paired_difference(plain, residual)
    assert (found.value, found.seeds) == (5.0, 3)
    assert (found.low, found.high) == pytest.approx((5 - 2.484138, 5 + 2.484138), abs=1e-6)


def test_welch_by_hand():
    """Variances 1 and 4 over 3: 1/3 + 4/3 = 5/3; df (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) = 50/17; per seed 25/17."""
    found = difference([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert found.value == -2.0
    assert found.df == pytest.approx(50 / 17)
    assert found.spread == pytest.approx(math.sqrt(5))
    half = stats.t.ppf(0.975, 50 / 17) * math.sqrt(5 / 3)
    assert (found.low, found.high) == pytest.approx((-2 - half, -2 + half))
    assert found.expected(3) == interval(found)
    assert found.df_gained == pytest.approx(25 / 17)


def test_a_difference_of_gaps_by_hand():
    """Gaps 4, 5, 6 at depth and 1, 2, 3 at the shallowest: 3, error sqrt(2/3) = 0.8164966, 4 df: t 2.7764451."""
    deep = {0: 5.0, 1: 7.0, 2: 9.0}, {0: 1.0, 1: 2.0, 2: 3.0}
    shallow = {0: 2.0, 1: 3.0, 2: 4.0}, {0: 1.0, 1: 1.0, 2: 1.0}
    found = difference_of_gaps(deep, shallow)
    assert (found.value, found.df) == (3.0, pytest.approx(4))
    assert (found.low, found.high) == pytest.approx((3 - 2.266958, 3 + 2.266958), abs=1e-6)


def test_a_slope_by_hand():
    """x 0, 1, 2 and y 0, 1, 3: slope 3/2; residuals 1/6, -1/3, 1/6 have squares of sum 1/6; error sqrt(1/6/1/2) = 0.288675."""
    found = slope([0.0, 1.0, 2.0], [0.0, 1.0, 3.0])
    assert found.value == pytest.approx(1.5)
    assert (found.seeds, found.df) == (1, 1)
    assert found.high - found.value == pytest.approx(12.706205 * 0.288675, abs=1e-5)
    assert found.expected(1) == interval(found)


def test_a_ratio_is_the_antilog_of_a_difference_of_logarithms():
    """Ratios 2, 4, 8: their logarithms are 1, 2, 3 times ln 2, so 4 times or by 2 to the power of 2.484138."""
    found = antilog(mean([math.log(2), math.log(4), math.log(8)]))
    assert found.value == pytest.approx(4)
    assert (found.low, found.high) == pytest.approx((4 / 2**2.484138, 4 * 2**2.484138), rel=1e-6)
    assert found.expected(3) == interval(found)
    assert seeds_to_decide(found, above(1)) == seeds_to_decide(mean([1.0, 2.0, 3.0]), above(0))


@given(samples, samples)
@example([0.0, 0.0, 1.0], [85.453] * 3)  # whose mean is rounded
def test_scipy_gives_the_same_intervals(first, second):
    if np.std(first) < 1e-9 or np.std(second) < 1e-9:
        return  # scipy warns of lost precision
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert interval(difference(first, second)) == (welch.low, welch.high)
    n = min(len(first), len(second))
    between = np.subtract(first[:n], second[:n])
    if np.std(between) > 1e-9:
        both = stats.ttest_rel(first[:n], second[:n]).confidence_interval()
        found = paired_difference(dict(enumerate(first)), dict(enumerate(second)))
        assert (found.low, found.high) == pytest.approx((both.low, both.high), rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from([20.0, 56.0, 110.0]), errors), min_size=4, max_size=12))
def test_scipy_gives_the_same_slopes(points):
    x, y = [point[0] for point in points], [point[1] for point in points]
    if len(set(x)) < 2:
        assert slope(x, y) == NOTHING
        return
    line, found = stats.linregress(x, y), slope(x, y)
    if not np.isfinite(line.stderr):  # all y are equal
        assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)
        return
    half = stats.t.ppf(0.975, len(x) - 2) * line.stderr
    # absolute: linregress takes its error from 1 - r^2, which cancels where points lie on a line
    assert (found.low, found.high) == pytest.approx((line.slope - half, line.slope + half), rel=1e-6, abs=1e-5)
    assert found.seeds == min(Counter(x).values())


@given(samples, st.floats(-50, 50), st.floats(0.5, 20))
def test_shift_and_scale(values, shift, scale):
    """Intervals and verdicts do not depend on units."""
    found, moved = mean(values), mean([shift + scale * value for value in values])
    assert (moved.low, moved.high) == pytest.approx((shift + scale * found.low, shift + scale * found.high), abs=1e-6)
    threshold = 31.41592653
    if min(abs(found.low - threshold), abs(found.high - threshold)) > 1e-6:
        assert verdict(found, above(threshold)) is verdict(moved, above(shift + scale * threshold))


@given(samples, st.floats(0, 100), st.floats(0.1, 10), st.booleans())
def test_a_claim_and_its_opposite_never_both_hold(values, threshold, margin, protocol):
    opposite = {
        Verdict.REPRODUCED: Verdict.CONTRADICTED,
        Verdict.CONTRADICTED: Verdict.REPRODUCED,
        Verdict.UNDECIDED: Verdict.UNDECIDED,
    }
    found = mean(values)
    said, denied = (verdict(found, claim, protocol=protocol) for claim in (above(threshold), below(threshold)))
    if protocol:
        assert denied is opposite[said]
    else:
        assert not said is denied is Verdict.CONSISTENT
    near_it = verdict(found, near(threshold, margin))
    if near_it is Verdict.REPRODUCED:
        assert verdict(found, above(threshold - margin)) is verdict(found, below(threshold + margin)) is Verdict.REPRODUCED
    if near_it is Verdict.CONTRADICTED:
        beyond = above(threshold + margin), below(threshold - margin)
        assert Verdict.REPRODUCED in {verdict(found, side) for side in beyond}


def test_one_value_has_no_interval_and_none_has_no_estimate():
    for one in (mean([7.0]), difference([7.0], [0.0, 1.0, 2.0]), slope([20.0, 56.0], [0.0, 7.0 * 36])):
        assert one.value in (7.0, 6.0)
        assert math.isnan(one.low)
        assert math.isnan(one.high)
        assert (one.seeds, one.known) == (1, False)
        assert seeds_to_decide(one, above(0)) is None
    for nothing in (mean([]), paired_difference({0: 1.0}, {1: 1.0}), difference([], [1.0]), slope([20.0], [1.0])):
        assert nothing is NOTHING
        assert judge(nothing, above(0)) == Judgement(Verdict.NOT_RUN, needed=("runs",))


def test_equal_values_have_an_interval_without_width():
    for sure in (mean([0.1, 0.1, 0.1]), difference([0.1] * 3, [0.0] * 3), antilog(mean([math.log(0.1)] * 3))):
        assert sure.low == pytest.approx(sure.high)
        assert verdict(sure, below(0.5)) is Verdict.REPRODUCED
        assert verdict(sure, above(0.5)) is Verdict.CONTRADICTED
    assert judge(mean([60.0] * 3), above(60)) == Judgement(
        Verdict.UNDECIDED, needed=("more than 1000 seeds expected to decide (has 3)",)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_rejected(bad):
    for call in (
        lambda: mean([1.0, bad]),
        lambda: paired_difference({0: bad}, {0: 1.0}),
        lambda: difference([1.0], [bad]),
        lambda: slope([20.0, 56.0], [1.0, bad]),
        lambda: compare_growth([20, 56], [1.0, bad], [True, True]),
    ):
        with pytest.raises(ValueError, match="finite"):
            call()
    with pytest.raises(ValueError, match="lengths differ"):
        slope([20.0, 56.0], [1.0, 2.0], [True])
    with pytest.raises(ValueError, match="nothing lies between"):
        Allowed(1, 1)


def test_zeros_at_depth_bound_a_slope_from_above():
    """1e-10, 1e-30 and exactly zero at 20, 56 and 110 layers: they fall whatever the zeros hide, but by an unknown amount."""
    x = [20.0] * 3 + [56.0] * 3 + [110.0] * 3
    y = [-10.0, -11.0, -12.0, -30.0, -31.0, -32.0, *[math.log10(1.4e-45)] * 3]
    found, as_they_are = slope(x, y, [False] * 6 + [True] * 3), slope(x, y)
    assert (found.low, found.high, found.value) == (-INFINITY, as_they_are.high, as_they_are.value)
    assert verdict(found, below(0)) is Verdict.REPRODUCED
    assert verdict(antilog(found), below(1)) is Verdict.REPRODUCED
    assert antilog(found).low == 0.0
    rising = slope(x, [-height for height in y], [False] * 6 + [True] * 3)  # raised by the zeros, perhaps by them alone
    assert judge(rising, above(0)).verdict is Verdict.UNDECIDED
    assert seeds_to_decide(rising, above(0)) is None
    assert verdict(slope(x, y[::-1], [False] * 8 + [True]), above(0), protocol=False) is Verdict.UNDECIDED


def test_a_depth_of_the_shallow_half_with_a_zero_is_left_out():
    """The mean depth is 62: a zero at 56 would lower the slope by an unknown amount."""
    x = [20.0] * 3 + [56.0] * 3 + [110.0] * 3
    y = [-10.0, -11.0, -12.0, -45.0, -30.0, -31.0, -40.0, -41.0, -42.0]
    assert slope(x, y, [False] * 3 + [True] + [False] * 5) == slope(x[:3] + x[6:], y[:3] + y[6:])
    found = slope(x, y, [False] * 3 + [True] * 6)
    assert (found.low, found.high) == (-INFINITY, slope(x[:3] + x[6:], y[:3] + y[6:]).high)
    assert verdict(found, below(0)) is Verdict.REPRODUCED


def test_zeros_everywhere_bound_nothing():
    x, y = [20.0] * 3 + [56.0] * 3 + [110.0] * 3, [-float(height) for height in range(9)]
    for marks in ([True] * 9, [True, False, False] * 2 + [False] * 3):
        found = slope(x, y, marks)
        assert (found.low, found.high, found.known) == (-INFINITY, INFINITY, False)
        for allowed in (above(0), below(0)):
            assert judge(found, allowed) == Judgement(Verdict.UNDECIDED, needed=("values that are not censored",))
            assert verdict(found, allowed, protocol=False) is Verdict.UNDECIDED


def test_a_mean_of_slopes_has_one_slope_per_seed():
    """Falls of 1, 2 and 3 a layer: the mean is -2, its half-width that of 1, 2, 3; a constant per seed does not widen it."""
    x, seeds = [20.0, 56.0, 110.0] * 3, [0] * 3 + [1] * 3 + [2] * 3
    y = [-fall * depth + 1000 * fall for fall in (1.0, 2.0, 3.0) for depth in x[:3]]
    found = mean_of_slopes(x, y, seeds)
    assert (found.value, found.low, found.high) == pytest.approx((-2, -4.484138, 0.484138), abs=1e-6)
    assert (found.seeds, found.df) == (3, 2)
    at_110 = mean_of_slopes(x, y, seeds, [False, False, True] * 3)
    assert (at_110.low, at_110.high) == (-INFINITY, found.high)
    once_at_56 = mean_of_slopes(x, y, seeds, [False, True, False] + [False] * 6)
    assert once_at_56 == mean_of_slopes(*([column[i] for i in (0, 2, 3, 5, 6, 8)] for column in (x, y, seeds)))
    everywhere = mean_of_slopes(x, y, seeds, [True] * 9)
    assert (everywhere.low, everywhere.high, everywhere.known) == (-INFINITY, INFINITY, False)
    assert mean_of_slopes([20.0, 20.0], [1.0, 2.0], [0, 1]) == mean_of_slopes([], [], []) == NOTHING


def test_a_censored_slope_never_lies_below_the_true_one():
    """Random values, censored at a limit at depth: value and high end are above those of the uncensored values."""
    generator = np.random.default_rng(0)
    x = np.repeat([20.0, 56.0, 110.0], 3)
    covered = 0
    for _ in range(2000):
        y = -10 - 0.4 * (x - 20) + 3 * generator.standard_normal(9)
        zero = y < math.log10(1.4e-45)
        found = slope(x.tolist(), np.where(zero, math.log10(1.4e-45), y).tolist(), zero.tolist())
        assert not zero.any() or found.value > slope(x.tolist(), y.tolist()).value
        covered += found.high > -0.4
    assert covered / 2000 > 0.975 - 0.01  # three standard errors


def test_verdicts_follow_the_interval():
    sample = [1.0, 2.0, 3.0]  # -0.484 to 4.484
    wanted = {
        above(-0.5): Verdict.REPRODUCED,
        above(-0.4): Verdict.UNDECIDED,
        above(4.5): Verdict.CONTRADICTED,
        below(4.5): Verdict.REPRODUCED,
        below(-0.5): Verdict.CONTRADICTED,
        near(2, 2.5): Verdict.REPRODUCED,
        near(2, 2.4): Verdict.UNDECIDED,
        near(9, 4): Verdict.CONTRADICTED,
        Allowed(-0.5, 4.5): Verdict.REPRODUCED,
        Allowed(-9, 4): Verdict.UNDECIDED,
    }
    for allowed, expected in wanted.items():
        assert verdict(mean(sample), allowed) is expected, allowed


def test_another_protocol_or_few_seeds_only_give_a_direction():
    """With two seeds, or on digits, a claim is at most consistent, whatever the interval."""
    clear = [5.0, 5.1, 5.2]
    assert judge(mean(clear), above(1)) == Judgement(Verdict.REPRODUCED)
    digits = judge(mean(clear), above(1), protocol=False)
    assert (digits.verdict, digits.needed) == (Verdict.CONSISTENT, ("the claim's protocol",))
    two = judge(mean(clear[:2]), above(1))
    assert (two.verdict, two.needed) == (Verdict.CONSISTENT, ("3 seeds expected to decide (has 2)",))
    one = judge(mean(clear[:1]), below(1), protocol=False)
    assert (one.verdict, one.needed) == (Verdict.INCONSISTENT, ("the claim's protocol", "at least 3 seeds (has 1)"))
    assert verdict(mean([1.0]), above(1)) is Verdict.INCONSISTENT  # 1 is not above 1


def test_seeds_to_decide_by_hand():
    """Mean 1.2, sd 0.5 against 1: t sd / sqrt(n) is 0.2020 at 26 seeds (t 2.0595) and 0.1978 at 27 (2.0555), to be below 0.2.
    Mean 0.2, sd 0.5 within 0.5 of 0: 0.3021 at 13 (2.1788), 0.2887 at 14 (2.1604), to be below 0.3."""
    undecided = judge(mean([0.7, 1.2, 1.7]), above(1))
    assert undecided == Judgement(Verdict.UNDECIDED, 27, ("27 seeds expected to decide (has 3)",))
    assert seeds_to_decide(mean([-0.3, 0.2, 0.7]), near(0, 0.5)) == 14
    assert seeds_to_decide(mean([0.5, 1.0, 1.5]), above(1)) is None
    assert seeds_to_decide(difference([1.7, 2.2, 2.7], [0.5, 1.0, 1.5]), above(1)) == 50  # variance doubled, df doubled
    assert abs(stats.t.ppf(0.975, 2 * 49)) * math.sqrt(0.5 / 50) < 0.2 < abs(stats.t.ppf(0.975, 2 * 48)) * math.sqrt(0.5 / 49)


def test_every_part_has_to_hold():
    yes, no, between = Judgement(Verdict.REPRODUCED), Judgement(Verdict.CONTRADICTED), Judgement(Verdict.UNDECIDED, 9, ("9",))
    more = Judgement(Verdict.UNDECIDED, 12, ("12",))
    assert every([yes, yes]) == yes
    assert every([yes, between, no]) == no
    assert every([between, yes, more]) == Judgement(Verdict.UNDECIDED, 12, ("9", "12"))
    assert every([between, Judgement(Verdict.UNDECIDED, None, ("many",))]).seeds is None
    assert every([yes, Judgement(Verdict.NOT_RUN, needed=("runs",)), no]).verdict is Verdict.NOT_RUN
    assert every([]).verdict is Verdict.NOT_RUN


DEPTHS = [20.0, 32.0, 44.0, 56.0, 110.0]


def test_growth_that_is_exactly_one_or_the_other():
    """Steps double every 10 layers or rise by 50 per layer, with equal scatter of 10 %: the AIC depends on the curve."""
    depths = DEPTHS * 3
    seeds = [1.1] * 5 + [1.0] * 5 + [0.9] * 5
    doubling = [100 * 2 ** (depth / 10) * factor for depth, factor in zip(depths, seeds, strict=True)]
    found = compare_growth(depths, doubling, [True] * 15)
    assert found.rate == pytest.approx(math.log(2) / 10, rel=1e-4)
    assert judge_growth(found) == Judgement(Verdict.REPRODUCED)
    straight = [50 * depth * factor for depth, factor in zip(depths, seeds, strict=True)]
    assert judge_growth(compare_growth(depths, straight, [True] * 15)) == Judgement(Verdict.CONTRADICTED)
    falling = compare_growth(depths, [1e9 / count for count in doubling], [True] * 15)
    assert falling.rate < 0 < 4 < falling.advantage
    assert judge_growth(falling) == Judgement(Verdict.CONTRADICTED)


@pytest.mark.parametrize("limit", [INFINITY, 4000.0])
def test_the_likelihoods_are_those_of_a_naive_search(limit):
    generator = np.random.default_rng(1)
    depths = np.repeat(DEPTHS, 3)
    steps = 1000 * np.exp(0.02 * (depths - 20) + 0.2 * generator.standard_normal(15))
    seen = steps < limit
    logs = np.log(np.minimum(steps, limit))
    assert seen.all() == (limit == INFINITY)

    def best(curve):
        def loss(parameters):
            expected, scatter = curve(*parameters[:2]), math.exp(parameters[2])
            normal = stats.norm(expected, scatter)
            return -np.where(seen, normal.logpdf(logs), normal.logsf(logs)).sum()

        start = [logs[0], logs[-1], math.log(0.3)]
        options = {"maxiter": 5000, "xatol": 1e-9, "fatol": 1e-10}
        return optimize.minimize(loss, start, method="Nelder-Mead", options=options).fun

    where = (depths - 20) / 90
    exponential = best(lambda first, last: first + (last - first) * where)
    linear = best(lambda first, last: np.log(math.exp(first) * (1 - where) + math.exp(last) * where))
    found = compare_growth(depths.tolist(), np.minimum(steps, limit).tolist(), seen.tolist())
    assert found.advantage == pytest.approx(2 * (linear - exponential), abs=1e-4)
    assert found.censored == (~seen).sum()


def test_growth_without_enough_runs():
    assert judge_growth(compare_growth([], [], [])).verdict is Verdict.NOT_RUN
    four = compare_growth(DEPTHS[:4] * 3, [100.0, 200.0, 400.0, 800.0] * 3, [True] * 12)
    assert judge_growth(four).needed == ("runs at 5 depths (has 4)",)
    never = compare_growth(DEPTHS * 3, [64_000.0] * 15, [False] * 15)
    assert (never.censored, math.isnan(never.advantage)) == (15, True)
    assert judge_growth(never).verdict is Verdict.UNDECIDED
    only_first = compare_growth(
        DEPTHS * 3, [500.0, *[1000.0] * 4, 550.0, *[1000.0] * 4, 450.0, *[1000.0] * 4], [True, *[False] * 4] * 3
    )
    assert judge_growth(only_first).verdict is Verdict.UNDECIDED


def test_judging_growth():
    assert judge_growth(Growth(9.0, 0.1, 5, 1, 0)).verdict is Verdict.CONSISTENT
    assert judge_growth(Growth(9.0, 0.1, 5, 3, 0), protocol=False).verdict is Verdict.CONSISTENT
    assert judge_growth(Growth(-9.0, 0.1, 5, 2, 0)).verdict is Verdict.INCONSISTENT
    # the advantage grows in proportion to seeds: 2 with 3 seeds is 4 with 6, and has to be above
    assert judge_growth(Growth(2.0, 0.1, 5, 3, 0)) == Judgement(Verdict.UNDECIDED, 7, ("7 seeds expected to decide (has 3)",))
    assert judge_growth(Growth(0.0, 0.1, 5, 3, 0)).seeds is None
