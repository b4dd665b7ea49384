"""Is degradation only a learning rate that suits shallow nets? Each depth gets the best of several.

Li et al. 2018 ("Visualizing the loss landscape of neural nets") and others ask whether deep plain nets are only badly tuned.
"""

from __future__ import annotations

from harness import plots
from harness.analysis import stats
from harness.analysis.verdicts import above
from harness.claims.claim import Claim, Experiment, Found, Missing, Part, Protocol, Setting
from harness.claims.measures import PLAIN, SHALLOW, sample

MIN_RATES = 4
RATE = "schedule.learning_rate"


def at_the_best_rates(setting: Setting) -> Found | Missing:
    """D10: training error of the deepest plain nets minus 20 layers (Welch), each depth at its best learning rate.

    Best is the lowest mean training error over seeds, among the rates of which both depths have all seeds: a mean of fewer would
    win by luck more often. Nothing is chosen by test error. What is chosen looks a little lower than it is, at both depths.
    """
    depths = setting.depths(**PLAIN)
    if SHALLOW not in depths or depths[-1] == SHALLOW:
        return Missing(f"plain nets of {SHALLOW} layers and of more")
    ends = SHALLOW, depths[-1]
    common = set.intersection(*(set(setting.distinct(RATE, depth=depth, **PLAIN)) for depth in ends))
    errors = {
        depth: {rate: setting.values("train_error", depth=depth, **{RATE: rate}, **PLAIN) for rate in sorted(common)}
        for depth in ends
    }
    most = max((len(values) for by_rate in errors.values() for values in by_rate.values()), default=0)
    rates = [rate for rate in sorted(common) if all(len(errors[depth][rate]) == most for depth in ends)]
    if len(rates) < MIN_RATES:
        return Missing(
            f"plain nets of {SHALLOW} layers and of more at {MIN_RATES} learning rates or more, of equally many seeds "
            f"(has {len(rates)})"
        )
    best = {
        depth: min(rates, key=lambda rate: stats.mean(list(by_rate[rate].values())).value) for depth, by_rate in errors.items()
    }
    first, last = (errors[depth][best[depth]] for depth in ends)
    values = {f"{sample(PLAIN, depth)}, learning rate {rate:g}": one for depth in ends for rate, one in errors[depth].items()}
    edge = [depth for depth in ends if best[depth] in (rates[0], rates[-1])]
    notes = [f"The best rate is {best[depth]:g} at {depth} layers." for depth in ends]
    notes += [f"That is the first or last of the rates at {depth} layers: a better one may lie beyond." for depth in edge]
    estimate = stats.difference(list(last.values()), list(first.values()))
    name = f"plain: training error, {ends[1]} minus {ends[0]} layers, each at its best learning rate"
    return Found(Part(name, estimate, above(1), values, "points"), notes=notes, used={"depth": ends, RATE: rates})


D10 = Claim(
    id="D10",
    source="Li et al. 2018",
    sentence="Degradation is not only a bad learning rate.",
    rule=f"training error, deepest plain nets minus 20 layers (Welch), each at the best of {MIN_RATES} or more learning rates "
    "(lowest mean training error): above 1 point",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut", RATE),
    needs=({"depth": (20, 56), "shortcut": ("none",), RATE: (0.005, 0.01, 0.02, 0.05)},),
    find=at_the_best_rates,
)

EXPERIMENT = Experiment(
    "Do plain nets degrade with depth even at the best learning rate of each depth (Li et al. 2018)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER),
    (D10,),
)
