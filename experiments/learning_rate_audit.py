"""Is degradation only an effect of a learning rate that suits shallow nets? Each depth gets its best of several rates.

Li et al. 2018 ("Visualizing the loss landscape of neural nets") and others ask whether deep plain nets are merely badly tuned.
"""

from __future__ import annotations

from harness import plots
from harness.analysis.verdicts import above
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import PLAIN, SHALLOW, difference, mean, sample_name

MIN_RATES = 4
RATE = "schedule.learning_rate"


def at_the_best_rates(setting: Setting) -> Evidence | MissingRuns:
    """D10: training error of the deepest plain nets minus 20 layers (Welch), each depth at its best learning rate.

    The best rate has the lowest mean training error over seeds, among the rates with all seeds at both depths: a mean over fewer
    seeds would win by luck more often. No test error enters the choice. Choosing the minimum biases both errors slightly down.
    """
    depths = setting.depths(**PLAIN)
    if SHALLOW not in depths or depths[-1] == SHALLOW:
        return MissingRuns(f"plain nets of {SHALLOW} layers and deeper")
    ends = SHALLOW, depths[-1]
    common = sorted(set.intersection(*(set(setting.distinct(RATE, depth=depth, **PLAIN)) for depth in ends)))
    errors = {
        depth: {rate: setting.values("train_error", depth=depth, **{RATE: rate}, **PLAIN) for rate in common} for depth in ends
    }
    seeds = max((len(sample) for by_rate in errors.values() for sample in by_rate.values()), default=0)
    rates = [rate for rate in common if all(len(errors[depth][rate]) == seeds for depth in ends)]
    if len(rates) < MIN_RATES:
        return MissingRuns(
            f"plain nets of {SHALLOW} layers and deeper at {MIN_RATES} or more learning rates, each with equally many seeds "
            f"(found: {len(rates)})"
        )
    best = {depth: min(rates, key=lambda rate: mean(errors[depth][rate]).value) for depth in ends}
    first, last = (errors[depth][best[depth]] for depth in ends)
    values = {
        f"{sample_name(PLAIN, depth)}, learning rate {rate:g}": sample for depth in ends for rate, sample in errors[depth].items()
    }
    edge = [depth for depth in ends if best[depth] in (rates[0], rates[-1])]
    notes = [f"The best rate is {best[depth]:g} at {depth} layers." for depth in ends]
    notes += [f"It is the first or last of the rates at {depth} layers; a better one may lie beyond." for depth in edge]
    name = f"plain: training error, {ends[1]} minus {ends[0]} layers, each at its best learning rate"
    return Evidence(
        Statistic(name, difference(last, first), above(1), values, "points"), notes=notes, used={"depth": ends, RATE: rates}
    )


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
