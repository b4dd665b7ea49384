"""Estimates from repeated runs: a number, its 95 % interval, and how that interval narrows with more seeds.

All functions take plain numbers and raise ValueError if one of them is NaN or infinite: the claim decides which value represents
a diverged run or a zero gradient. Intervals are two-sided t intervals, which assume roughly normal values; equal values give an
interval of zero width. scipy.stats takes a second to import, gives neither spread nor expected intervals, and loses precision for
equal values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """A number and its two-sided 95 % interval.

    The interval is NaN if a sample has fewer than two values. An infinite end means that the values bound the number only on
    the other side.
    """

    value: float
    """NaN if there are no values; then `seeds` is 0."""
    low: float
    high: float
    seeds: int
    """Size of the smallest sample; a pair counts once."""
    spread: float
    """Standard deviation per seed: with n seeds in every sample the standard error is spread / sqrt(n)."""
    df: float
    """Degrees of freedom of the interval."""
    df_gained: float
    """With n seeds in every sample there are df_gained * n - df_lost degrees of freedom."""
    df_lost: float
    of_logs: bool = False
    """Whether `spread` is that of natural logarithms (see `antilog`)."""

    @property
    def known(self) -> bool:
        """Whether the interval has a finite end."""
        return self.low > self._floor or self.high < math.inf

    @property
    def point(self) -> tuple[float, float]:
        """The value as an interval of zero width, except for an end that the values do not bound."""
        return self._around(0.0)

    def expected(self, seeds: int) -> tuple[float, float]:
        """Return the interval expected with `seeds` seeds in every sample, if value and spread stay the same."""
        return self._around(_t95(self.df_gained * seeds - self.df_lost) * self.spread / math.sqrt(seeds))

    @property
    def _floor(self) -> float:
        return 0.0 if self.of_logs else -math.inf

    def _around(self, half: float) -> tuple[float, float]:
        ends = (self.value * _exp(-half), self.value * _exp(half)) if self.of_logs else (self.value - half, self.value + half)
        return self._floor if self.low == self._floor else ends[0], math.inf if self.high == math.inf else ends[1]


NOTHING = Estimate(math.nan, math.nan, math.nan, seeds=0, spread=math.nan, df=math.nan, df_gained=math.nan, df_lost=math.nan)
"""The estimate from no values."""


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of one sample, for comparison with a published number (one-sample t; Student 1908)."""
    n = len(_finite(values))
    if n == 0:
        return NOTHING
    spread = math.sqrt(_variance(values))
    return _t_interval(fmean(values), spread / math.sqrt(n), n - 1, n, spread, 1, 1)


def gaps(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Return `first` minus `second` (values by seed) for every seed that both have, in ascending order of seeds."""
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate:
    """Return the mean of `first` minus `second` (values by seed) over the seeds that both have (paired t)."""
    return mean(gaps(first, second))


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of `first` minus that of `second`, independent samples (Welch 1947; df of Satterthwaite 1946).

    If neither sample varies, the df are those of equal variances.
    """
    n, m = len(_finite(first)), len(_finite(second))
    if min(n, m) == 0:
        return NOTHING
    first_variance, second_variance = _variance(first), _variance(second)
    squared_error, both = first_variance / n + second_variance / m, first_variance + second_variance
    if both == 0:
        df, gained = n + m - 2.0, 2.0
    else:
        df = _satterthwaite(first_variance / n / squared_error, n - 1, m - 1)
        gained = _satterthwaite(first_variance / both, 1, 1)
    value = fmean(first) - fmean(second)
    return _t_interval(value, math.sqrt(squared_error), df, min(n, m), math.sqrt(both), gained, gained)


def difference_of_gaps(
    deep: tuple[Mapping[int, float], Mapping[int, float]], shallow: tuple[Mapping[int, float], Mapping[int, float]]
) -> Estimate:
    """Return the mean gap at the deepest depth minus that at the shallowest: gaps paired by seed, then Welch's t across depths.

    Each argument is a pair (first, second) of values by seed; the gap is first minus second.
    """
    return difference(gaps(*deep), gaps(*shallow))


def antilog(logarithms: Estimate) -> Estimate:
    """Return e to the power of an estimate of natural logarithms: a geometric mean, a ratio, or a factor per layer.

    Both ends of the interval are transformed, so it is not symmetric.
    """
    value, low, high = (_exp(number) for number in (logarithms.value, logarithms.low, logarithms.high))
    return replace(logarithms, value=value, low=low, high=high, of_logs=True)


def slope(x: Sequence[float], y: Sequence[float], censored: Sequence[bool] = ()) -> Estimate:
    """Return the least-squares slope of y on x with its t interval (n - 2 df; Draper and Smith 1998, section 1.4).

    `seeds` is the number of values at the x that has fewest; with a single x there is no slope. The scatter is assumed equal at
    every x; if it is not, use `mean_of_slopes`.

    `censored` marks values known only to lie at or below their y (a gradient that underflowed; y is the limit). They count as
    y. A point's weight in the slope has the sign of x minus the mean of all x, so a censored point at a large x can only raise
    the slope: value and high end are then upper bounds, valid whatever lies below the limit, and the low end is minus infinity.
    A censored point at a small x would lower the slope by an unknown amount: all points at that x are left out, and if only one
    x remains, nothing is bounded. So censored values can show "slope < 0", never "slope > 0". Tobit regression (Tobin 1958) would
    estimate what lies below the limit, but relies on the straight line and the normal law there, and its likelihood intervals
    hold for large samples; a claim about the sign needs neither.
    """
    return _bound(lambda points: _line([x[i] for i in points], [y[i] for i in points]), x, y, censored)


def mean_of_slopes(x: Sequence[float], y: Sequence[float], seeds: Sequence[int], censored: Sequence[bool] = ()) -> Estimate:
    """Return the mean of one slope of y on x per seed (t over seeds), which is exact even if the scatter differs between x.

    A bend in the line or an offset per seed does not widen the interval either. `censored` as in `slope`; an x that is left out
    is left out for every seed (leaving it out for some would favour high values at small x).
    """

    def fit(points: Sequence[int]) -> Estimate:
        by_seed: dict[int, list[int]] = {}
        for i in points:
            by_seed.setdefault(seeds[i], []).append(i)
        slopes = [_line([x[i] for i in own], [y[i] for i in own]) for own in by_seed.values()]
        return mean([line.value for line in slopes if line.seeds])

    return _bound(fit, x, y, censored)


def _line(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Return the least-squares slope of uncensored points."""
    n, counts = len(x), Counter(x)
    if len(counts) < 2:
        return NOTHING
    seeds, across, up = min(counts.values()), np.array(x) - fmean(x), np.array(y) - fmean(y)
    squares = across @ across
    value = across @ up / squares
    residuals = up - value * across
    error = math.sqrt(residuals @ residuals / (n - 2) / squares) if n > 2 else math.nan
    return _t_interval(float(value), error, n - 2, seeds, error * math.sqrt(seeds), n / seeds, 2)


def _bound(
    fit: Callable[[Sequence[int]], Estimate], x: Sequence[float], y: Sequence[float], censored: Sequence[bool]
) -> Estimate:
    """Return what `fit` estimates from points, given by index, with infinite ends where censored points bound nothing.

    Every x below the mean x that has a censored point is left out, repeatedly. Raises ValueError if the lengths differ.
    """
    n, m = len(_finite(x)), len(_finite(y))
    if n != m or len(censored) not in (0, n):
        raise ValueError(f"{n} x, {m} y and {len(censored)} marks of censored values: lengths differ")
    marks = censored if len(censored) else [False] * n
    kept: Sequence[int] = range(n)
    while kept and any(marks[i] for i in kept):
        middle = fmean(x[i] for i in kept)
        hidden = {x[i] for i in kept if marks[i] and x[i] < middle}
        if not hidden:
            break
        kept = [i for i in kept if x[i] not in hidden]
    if len({x[i] for i in kept}) > 1:
        estimate = fit(kept)
        return replace(estimate, low=-math.inf) if any(marks[i] for i in kept) else estimate
    return replace(fit(range(n)), low=-math.inf, high=math.inf) if len(set(x)) > 1 else NOTHING


def _t_interval(value: float, error: float, df: float, seeds: int, spread: float, df_gained: float, df_lost: float) -> Estimate:
    half = _t95(df) * error
    return Estimate(value, value - half, value + half, seeds, spread, df, df_gained, df_lost)


def _t95(df: float) -> float:
    """Return the 97.5 % quantile of Student's t; NaN without degrees of freedom."""
    return float(stdtrit(df, 0.975))


def _satterthwaite(share: float, df: float, other_df: float) -> float:
    """Return the degrees of freedom of a sum of two variances, of which the first is the fraction `share`."""
    return 1 / (share**2 / df + (1 - share) ** 2 / other_df) if min(df, other_df) > 0 else math.nan


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance (n - 1): NaN of one value, exactly 0 of equal ones."""
    if len(values) < 2:
        return math.nan
    if min(values) == max(values):
        return 0.0
    middle = fmean(values)
    return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)


def _finite(values: Sequence[float]) -> Sequence[float]:
    """Return `values`. Raises ValueError if one is NaN or infinite."""
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{value}: only finite values can be estimated from")
    return values


def _exp(logarithm: float) -> float:
    """Return e to the power of a logarithm; infinity on overflow."""
    try:
        return math.exp(logarithm)
    except OverflowError:
        return math.inf
