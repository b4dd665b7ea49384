"""Measures that several claims share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.analysis import stats
from harness.analysis.published import Published
from harness.analysis.verdicts import Allowed, above, near
from harness.claims.claim import Part

PLAIN, RESIDUAL = {"shortcut": "none"}, {"shortcut": "identity"}
NAMES = {"none": "plain", "identity": "residual"}
SHALLOW = 20
"""Layers of the shallowest nets of He et al. 2015, Fig. 6."""
WINDOW = 50
"""Batches over which an error or loss is averaged, as for the end of the warm-up: one batch of 128 is off by some points."""


def sample(arm: Mapping[str, Any], depth: int) -> str:
    """Return the name of a sample: an arm at a depth."""
    return f"{NAMES.get(arm['shortcut'], arm['shortcut'])}, {depth} layers"


def steps_to(steps: pd.DataFrame, column: str, level: float) -> pd.DataFrame:
    """Return the updates made when the mean of `column` over the last WINDOW batches first is below `level`.

    `reached` is False where it never is; then `steps` are those that the run had.
    """
    low = steps[column].rolling(WINDOW).mean().to_numpy() < level
    reached = bool(low.any())
    return pd.DataFrame({"steps": [float(low.argmax()) + 1 if reached else float(len(steps))], "reached": [reached]})


WARM_UP = {"schedule.warmup": "steps"}
"""He et al. 2016, appendix: 400 steps at a learning rate of 0.01 first, in all their CIFAR experiments."""


def allowed(number: Published, margin: float) -> Allowed:
    """Return what a published error allows: values within the margin, or any above it where that is all that is known."""
    return above(number.error) if number.above else near(number.error, margin)


def against(number: Published, values: Mapping[int, float], name: str, margin: float) -> Part:
    """Return test errors by seed against a published one, as a one-sample mean."""
    title = f"test error, {name} (published: {number.words}, {number.how})"
    return Part(title, stats.mean(list(values.values())), allowed(number, margin), {name: values}, "%")
