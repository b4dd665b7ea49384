"""Predictions of theory beside measurements, and the measured slopes in words."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.analysis import stats, theory
from harness.analysis.stats import Estimate
from harness.analysis.theory import Net
from harness.plots.style import is_positive

LAYERS_PER = {"block": 2, "layer": 1}
"""Layers per block or layer of an axis."""
LARGEST_SIDE = 4096
"""Upper bound of the side of an image, in pixels."""


def net_of(frame: pd.DataFrame) -> Net | None:
    """Return the net of rows that differ only in the seed; None if they have none or theory does not cover it."""
    if "net" not in frame or frame.empty:
        return None
    net: Net = frame["net"].iloc[0]
    return net if net.is_known else None


def gradient_of_weights(frame: pd.DataFrame) -> pd.Series | None:
    """Return ||dL/dW|| by layer, relative to the last, for plain nets with BN.

    Without BN it is the product of a signal that shrinks forwards and a gradient that shrinks backwards, and nearly constant.
    """
    if not explodes(frame):
        return None
    layers = np.sort(frame["layer"].unique())
    return pd.Series(theory.GRADIENT_FACTOR ** (layers[-1] - layers), index=layers)


def gradient_of_outputs(frame: pd.DataFrame) -> pd.Series | None:
    """Return ||dL/d output|| by block, relative to the last, for plain nets with or without BN."""
    blocks = np.sort(frame["block"].unique())
    if explodes(frame):
        return pd.Series(theory.SQUARED_GRADIENT_FACTOR ** (blocks[-1] - blocks), index=blocks)
    if (unnormalised := _unnormalised(frame)) is None:
        return None
    return pd.Series(theory.gradient_left(*unnormalised)[:: LAYERS_PER["block"]], index=blocks)


def signal_of_outputs(frame: pd.DataFrame) -> pd.Series | None:
    """Return the root mean square by block, relative to the stem's, for plain nets without norm whose biases are zero."""
    unnormalised = _unnormalised(frame)
    if unnormalised is None or unnormalised[1] == "torch":
        return None
    return pd.Series(theory.signal_left(*unnormalised)[:: LAYERS_PER["block"]], index=np.sort(frame["block"].unique()))


def explodes(frame: pd.DataFrame) -> bool:
    """Return whether the rows are of a plain net with BN, whose gradient grows by `theory.GRADIENT_FACTOR` per layer."""
    net = net_of(frame)
    return net is not None and net.shortcut == "none" and net.norm == "batch"


def factor_towards_input(frame: pd.DataFrame, column: str) -> Estimate:
    """Return the factor of `value` per layer towards the input, from the slope of its logarithm in each run."""
    slopes = [_slope(LAYERS_PER[column] * run[column], run["value"]) for _, run in frame.groupby("run")]
    return stats.antilog(stats.mean([-slope for slope in slopes if math.isfinite(slope)]))


def factor_of_depth(frame: pd.DataFrame) -> Estimate:
    """Return the factor of `value` per layer of depth, from one slope per seed."""
    usable = frame[is_positive(frame["value"])]
    logs = np.log(usable["value"]).tolist()
    return stats.antilog(stats.mean_of_slopes(usable["x"].tolist(), logs, usable["seed"].tolist()))


def predicted_factor(line: pd.Series, column: str) -> float:
    """Return the factor per layer towards the input of a predicted line, from the same slope as the measured one."""
    return math.exp(-_slope(pd.Series(line.index * LAYERS_PER[column]), line))


def compare(measured: Estimate, predicted: float) -> str:
    """Describe a measured factor, with its interval, and the predicted one."""
    interval = f" [{measured.low:.3f}, {measured.high:.3f}]" if measured.known else ""
    return ("" if measured.seeds == 0 else f"{measured.value:.3f}{interval}, ") + f"theory {predicted:.3f}"


def visible(line: pd.Series) -> pd.Series:
    """Return a predicted line without values below the smallest measurable number."""
    return line.where(line >= theory.SMALLEST["fp32"])


def _slope(x: pd.Series, y: pd.Series) -> float:
    """Return the least-squares slope of ln y on x; NaN if a y is zero or not finite."""
    if len(y) < 2 or not is_positive(y).all():
        return math.nan
    return stats.slope(list(map(float, x)), np.log(y).tolist()).value


def _unnormalised(frame: pd.DataFrame) -> tuple[list[theory.Map], str] | None:
    """Return the maps and the initialisation of a plain net without norm.

    None for other nets, if theory does not know the initialisation, or if the rows lack some of its blocks.
    """
    net = net_of(frame)
    if net is None or (net.shortcut, net.norm) != ("none", "none") or net.init not in theory.INITS:
        return None
    stem = frame["elements"][frame["block"] == 0]
    side = side_of(net, stem.iloc[0]) if len(stem) else None
    if side is None or frame["block"].nunique() != (net.depth - 2) // LAYERS_PER["block"] + 1:
        return None
    return theory.plain_net(net.depth, net.width, side), net.init


def side_of(net: Net, elements: float) -> int | None:
    """Return the side of the stem's square output maps with this many elements in all; None if there is none."""
    area = elements / net.batch_size / net.width
    side = round(math.sqrt(area)) if 1 <= area <= LARGEST_SIDE**2 else 0
    return side if side and side**2 == area else None
