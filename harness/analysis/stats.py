"""Estimates from repeated runs: a number, its 95 % interval, and how that interval narrows with more seeds.

Every function is pure, takes plain numbers and raises ValueError where one of them is not finite: what stands for a run that
diverged or a gradient that is zero is the claim's business. Intervals are two-sided t intervals, so they suppose that values
scatter about normally; the t interval of values that are all equal has no width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtrit

NAN, INFINITY = float("nan"), float("inf")


@dataclass(frozen=True)
class Estimate:
    """A number and its two-sided 95 % interval; with fewer than two values in a sample the interval is unknown (NaN).

    An infinite end says that the values bound the number on the other side only.
    """

    value: float
    """NaN where there is nothing to estimate from; then `seeds` is 0."""
    low: float
    high: float
    seeds: int
    """Values in the smallest sample; a pair is one."""
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
        """Whether the interval says anything."""
        return self.low > self._floor or self.high < INFINITY

    @property
    def point(self) -> tuple[float, float]:
        """The value as an interval without width, but for an end that the values do not bound."""
        return self._around(0.0)

    def expected(self, seeds: int) -> tuple[float, float]:
        """Return the interval to expect with `seeds` seeds in every sample: the same value and spread, a smaller error."""
        return self._around(_t95(self.df_gained * seeds - self.df_lost) * self.spread / math.sqrt(seeds))

    @property
    def _floor(self) -> float:
        return 0.0 if self.of_logs else -INFINITY

    def _around(self, half: float) -> tuple[float, float]:
        ends = (self.value * _exp(-half), self.value * _exp(half)) if self.of_logs else (self.value - half, self.value + half)
        return self._floor if self.low == self._floor else ends[0], INFINITY if self.high == INFINITY else ends[1]


NOTHING = Estimate(NAN, NAN, NAN, seeds=0, spread=NAN, df=NAN, df_gained=NAN, df_lost=NAN)
"""What is estimated from no values."""


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of one sample, to be judged against a published number (one-sample t; Student 1908)."""
    n = len(_finite(values))
    if n == 0:
        return NOTHING
    spread = math.sqrt(_variance(values))
    return _t_interval(_average(values), spread / math.sqrt(n), n - 1, n, spread, 1, 1)


def gaps(first: Mapping[int, float], second: Mapping[int, float]) -> list[float]:
    """Return `first` minus `second` (values by seed) of every seed that both have, by rising seed."""
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate:
    """Return the mean of `first` minus `second` (values by seed) over the seeds that both have (paired t)."""
    return mean(gaps(first, second))


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of `first` minus that of `second`, samples of their own (Welch 1947; df of Satterthwaite 1946).

    Where all values of both samples are equal, the df are those of equal variances.
    """
    n, m = len(_finite(first)), len(_finite(second))
    if min(n, m) == 0:
        return NOTHING
    variances = _variance(first), _variance(second)
    one, other = variances[0] / n, variances[1] / m
    if one + other == 0:
        df, gained = n + m - 2.0, 2.0
    else:
        df = _satterthwaite(one / (one + other), n - 1, m - 1)
        gained = _satterthwaite(variances[0] / sum(variances), 1, 1)
    value, error, spread = _average(first) - _average(second), math.sqrt(one + other), math.sqrt(sum(variances))
    return _t_interval(value, error, df, min(n, m), spread, gained, gained)


def difference_of_gaps(
    deep: tuple[Mapping[int, float], Mapping[int, float]], shallow: tuple[Mapping[int, float], Mapping[int, float]]
) -> Estimate:
    """Return the gap at the deepest depth minus that at the shallowest: each paired by seed, then Welch's across depths.

    Each argument is (first, second), values by seed.
    """
    return difference(gaps(*deep), gaps(*shallow))


def antilog(logarithms: Estimate) -> Estimate:
    """Return an estimate of natural logarithms as one of the quantity: a geometric mean, a ratio, a growth per layer.

    The ends of the interval are those of the logarithms, carried over, so it is not symmetric.
    """
    value, low, high = (_exp(number) for number in (logarithms.value, logarithms.low, logarithms.high))
    return replace(logarithms, value=value, low=low, high=high, of_logs=True)


def slope(x: Sequence[float], y: Sequence[float], censored: Sequence[bool] = ()) -> Estimate:
    """Return the least-squares slope of y on x with its t interval (n - 2 df; Draper and Smith 1998, section 1.4).

    `seeds` counts the values at the x that has fewest; with one x there is no slope. The scatter is taken to be equal at every
    x; where it is not, `mean_of_slopes` is right.

    `censored` marks values known only to lie at or below their y (a gradient that underflowed: y is the limit). They count as
    y. The weight of a point in the slope has the sign of x minus the mean of all x, so a censored point at a large x can only
    raise the slope: value and high end are then bounds from above, sound whatever lies below the limit, and the low end is
    minus infinity. One at a small x would lower it by an unknown amount: all points at that x are left out, and where only one
    x is left, nothing is bounded. So "slope < 0" can be shown by values that vanish at depth, "slope > 0" never. Tobit
    regression (Tobin 1958) would give a number for what lies below the limit, at the price of trusting the straight line and
    the normal law there, and its likelihood intervals hold for large samples; a claim about the sign needs neither.
    """
    marks = _marks(len(_finite(x)), len(_finite(y)), censored)
    kept = _usable(x, marks)
    x_kept, y_kept = [x[i] for i in kept], [y[i] for i in kept]
    if len(set(x_kept)) < 2:
        return NOTHING if len(set(x)) < 2 else replace(slope(x, y), low=-INFINITY, high=INFINITY)
    n, seeds, middle, level = len(kept), min(Counter(x_kept).values()), _average(x_kept), _average(y_kept)
    squares = math.fsum((place - middle) ** 2 for place in x_kept)
    value = math.fsum((place - middle) * height for place, height in zip(x_kept, y_kept, strict=True)) / squares
    rest = (height - level - value * (place - middle) for place, height in zip(x_kept, y_kept, strict=True))
    error = math.sqrt(math.fsum(residual**2 for residual in rest) / (n - 2) / squares) if n > 2 else NAN
    found = _t_interval(value, error, n - 2, seeds, error * math.sqrt(seeds), n / seeds, 2)
    return replace(found, low=-INFINITY) if any(marks[i] for i in kept) else found


def mean_of_slopes(x: Sequence[float], y: Sequence[float], seeds: Sequence[int], censored: Sequence[bool] = ()) -> Estimate:
    """Return the mean of the slopes of y on x, one a seed (t over seeds): exact though the scatter differs from x to x.

    A bend of the line, or what a seed adds at every x, costs it nothing either. `censored` as in `slope`; an x that is left
    out is left out of every seed (from seed to seed it would favour high values at small x).
    """
    marks = _marks(len(_finite(x)), len(_finite(y)), censored)
    kept = _usable(x, marks)
    bounded = len({x[i] for i in kept}) > 1
    lines: dict[int, list[int]] = {}
    for i in kept if bounded else range(len(x)):
        lines.setdefault(seeds[i], []).append(i)
    slopes = [slope([x[i] for i in line], [y[i] for i in line]) for line in lines.values()]
    found = mean([line.value for line in slopes if line.seeds])
    low = -INFINITY if any(marks[i] for i in kept) else found.low
    return replace(found, low=low) if bounded or not any(marks) else replace(found, low=-INFINITY, high=INFINITY)


def _marks(n: int, m: int, censored: Sequence[bool]) -> Sequence[bool]:
    """Return a mark for every point; raises ValueError where lengths differ."""
    if n != m or len(censored) not in (0, n):
        raise ValueError(f"{n} x, {m} y and {len(censored)} marks of censored values: lengths differ")
    return censored if len(censored) else [False] * n


def _usable(x: Sequence[float], censored: Sequence[bool]) -> list[int]:
    """Return the points that are left when every x below the mean of x that has a censored one is left out, until none has."""
    kept = list(range(len(x)))
    while kept and any(censored[i] for i in kept):
        middle = _average([x[i] for i in kept])
        hidden = {x[i] for i in kept if censored[i] and x[i] < middle}
        if not hidden:
            break
        kept = [i for i in kept if x[i] not in hidden]
    return kept


def _t_interval(value: float, error: float, df: float, seeds: int, spread: float, df_gained: float, df_lost: float) -> Estimate:
    half = _t95(df) * error
    return Estimate(value, value - half, value + half, seeds, spread, df, df_gained, df_lost)


def _t95(df: float) -> float:
    """Return the 97.5 % quantile of Student's t; NaN without degrees of freedom."""
    return float(stdtrit(df, 0.975)) if df > 0 else NAN


def _satterthwaite(share: float, df: float, other_df: float) -> float:
    """Return the degrees of freedom of a sum of two variances, the first of which is `share` of it."""
    return 1 / (share**2 / df + (1 - share) ** 2 / other_df) if min(df, other_df) > 0 else NAN


def _average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance (n - 1); NaN of one value."""
    if len(values) < 2:
        return NAN
    if min(values) == max(values):
        return 0.0
    middle = _average(values)
    return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)


def _finite(values: Sequence[float]) -> Sequence[float]:
    """Return `values`; raises ValueError where one is NaN or infinite."""
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{value}: only finite values can be estimated from")
    return values


def _exp(logarithm: float) -> float:
    """Return e to the power of a logarithm; infinity beyond what a float holds."""
    try:
        return math.exp(logarithm)
    except OverflowError:
        return INFINITY
