"""Lesions: how much the output of a trained net depends on each single block (Veit et al. 2016, arXiv:1605.06431, 4.1).

"Deleting a layer in residual networks at test time": a residual net behaves like many parallel paths of different lengths, and
half of them remain without one block. A plain net has one path, and none remains without a layer.
"""

from __future__ import annotations

import pandas as pd

from harness import plots
from harness.analysis import stats
from harness.analysis.tables import Measure
from harness.analysis.verdicts import above, below
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting, Statistic
from harness.claims.measures import PLAIN, RESIDUAL, mean

TRAINED = 50.0
"""Test error in percent below which a net has learned enough for a lesion to show."""


def median_error(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the median over blocks of the test error without that block."""
    return pd.DataFrame({"without": [lesions["test_error"].median()]})


WITHOUT = Measure("lesions", ("test_error",), median_error)


def one_block_less(setting: Setting) -> Evidence | MissingRuns:
    """L1: median over blocks of the rise of the test error, at the deepest depth where both nets are TRAINED."""
    for depth in reversed(setting.depths(**PLAIN)):
        arms = {name: _errors(setting, depth, arm) for name, arm in (("residual", RESIDUAL), ("plain", PLAIN))}
        if all(whole and mean(whole).value < TRAINED for _, whole in arms.values()):
            statistics = [
                Statistic(
                    f"{name}, {depth} layers: median rise of the test error",
                    stats.paired_difference(without, whole),
                    allowed,
                    {f"{name}, one block less": without, f"{name}, whole": whole},
                    "points",
                )
                for (name, (without, whole)), allowed in zip(arms.items(), (below(5), above(30)), strict=True)
            ]
            return Evidence(*statistics, used={"depth": (depth,)})
    return MissingRuns(f"plain and residual nets of one depth with a test error below {TRAINED:.0f} %, with probes=[lesions]")


def _errors(setting: Setting, depth: int, arm: dict[str, str]) -> tuple[dict[int, float], dict[int, float]]:
    """Return the median test error without one block and the test error of the whole net, by seed, for runs with lesions."""
    measured = setting.measured(WITHOUT, depth=depth, **arm)
    runs = setting.where(depth=depth, **arm)
    return setting.by_seed(measured, "without"), setting.by_seed(runs[runs["run"].isin(measured["run"])], "test_error")


L1 = Claim(
    id="L1",
    source="Veit et al. 2016, 4.1",
    sentence="Removing one block from a trained residual net raises its error little; removing one from a plain net ruins it.",
    rule="median over blocks of the rise of the test error: residual below 5 points, plain above 30",
    protocol=Protocol.ANY,
    keys=("depth", "shortcut"),
    needs=({"depth": (20,), "shortcut": ("none", "identity"), "probes": (("lesions",),)},),
    find=one_block_less,
    tables=("lesions",),
    measures=(WITHOUT,),
)

EXPERIMENT = Experiment(
    "How much does a trained net depend on each single block (Veit et al. 2016, 4.1)?",
    (plots.ERROR, plots.CURVES),
    (L1,),
)
