"""What theory says beside what is measured, and the slope that is measured, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import stats, theory
from harness.analysis.stats import Estimate
from harness.analysis.theory import Net

LAYERS_PER_BLOCK = 2
LARGEST_SIDE = 4096
"""Side in pixels beyond which there are no images."""
THEORY: Mapping[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.3}
"""How a line of theory looks, in the colour of what it is about."""


def name_theory(ax: Axes) -> None:
    """Give the lines of theory one entry in the legend."""
    ax.plot([], [], color="#555555", label="theory", **THEORY)


def net_of(frame: pd.DataFrame) -> Net | None:
    """Return the net of rows that share one, seeds apart; None where there is none or theory does not know it."""
    if "net" not in frame or frame.empty:
        return None
    net: Net = frame["net"].iloc[0]
    return net if net.is_known else None


def gradient_of_weights(frame: pd.DataFrame) -> pd.Series | None:
    """Return ||dL/dW|| by layer, relative to the last: plain nets with BN alone.

    Without BN it is the product of a signal that shrinks forwards and a gradient that shrinks backwards, and nearly level.
    """
    net = net_of(frame)
    if net is None or not _exploding(net):
        return None
    layers = np.sort(frame["layer"].unique())
    return pd.Series(theory.GROWTH ** (layers[-1] - layers), index=layers)


def gradient_of_outputs(frame: pd.DataFrame) -> pd.Series | None:
    """Return ||dL/d output|| by block, relative to the last: plain nets, with BN or without."""
    net = net_of(frame)
    if net is None or not (_exploding(net) or _unnormalised(net)):
        return None
    blocks = np.sort(frame["block"].unique())
    if _exploding(net):
        return pd.Series(theory.GROWTH_OF_SQUARES ** (blocks[-1] - blocks), index=blocks)
    maps = _maps(net, frame)
    return pd.Series(theory.gradient_left(maps, net.init)[::LAYERS_PER_BLOCK], index=blocks) if maps else None


def signal_of_outputs(frame: pd.DataFrame) -> pd.Series | None:
    """Return the root mean square by block, relative to the stem's: plain nets without norm whose biases are zero."""
    net = net_of(frame)
    if net is None or not _unnormalised(net) or net.init == "torch":
        return None
    blocks, maps = np.sort(frame["block"].unique()), _maps(net, frame)
    return pd.Series(theory.signal_left(maps, net.init)[::LAYERS_PER_BLOCK], index=blocks) if maps else None


def grows_with_depth(frame: pd.DataFrame) -> bool:
    """Return whether the first layer's ||dL/dW|| grows with depth by `theory.GROWTH` a layer."""
    net = net_of(frame)
    return net is not None and _exploding(net)


def growth_by_place(frame: pd.DataFrame, place: str) -> Estimate:
    """Return the growth of `value` per layer towards the input: by the slope of its logarithm over places, one a run."""
    layers = LAYERS_PER_BLOCK if place == "block" else 1
    slopes = [_slope(layers * run[place], run["value"]) for _, run in frame.groupby("run")]
    return stats.antilog(stats.mean([-one for one in slopes if math.isfinite(one)]))


def growth_by_depth(frame: pd.DataFrame) -> Estimate:
    """Return the growth of `value` per layer of depth, one slope a seed."""
    usable = frame[np.isfinite(frame["value"]) & (frame["value"] > 0)]
    logs = np.log(usable["value"]).tolist()
    return stats.antilog(stats.mean_of_slopes(usable["x"].tolist(), logs, usable["seed"].tolist()))


def in_words(growth: Estimate, predicted: float) -> str:
    """Say a growth with its interval, and what is predicted."""
    interval = f" [{growth.low:.3f}, {growth.high:.3f}]" if growth.known else ""
    measured = "" if growth.seeds == 0 else f"{growth.value:.3f}{interval}, "
    return f"{measured}theory {predicted:.3f}"


def growth_of(predicted: pd.Series, place: str) -> float:
    """Return the growth per layer towards the input of a predicted line, by the same slope as the measured one."""
    layers = LAYERS_PER_BLOCK if place == "block" else 1
    return math.exp(-_slope(pd.Series(predicted.index * layers), predicted))


def visible(line: pd.Series) -> pd.Series:
    """Return a predicted line without what lies below the smallest number that can be measured."""
    return line.where(line >= theory.SMALLEST["fp32"])


def _slope(x: pd.Series, y: pd.Series) -> float:
    """Return the least-squares slope of ln y on x; NaN where a y is zero or not finite."""
    if len(y) < 2 or not (np.isfinite(y) & (y > 0)).all():
        return math.nan
    return stats.slope(list(map(float, x)), np.log(y).tolist()).value


def _exploding(net: Net) -> bool:
    return net.shortcut == "none" and net.norm == "batch"


def _unnormalised(net: Net) -> bool:
    return net.shortcut == "none" and net.norm == "none" and net.init in theory.INITS


def _maps(net: Net, frame: pd.DataFrame) -> list[theory.Map] | None:
    """Return the maps of a plain net; None where the rows are not those of such a net."""
    stem = frame["elements"][frame["block"] == 0]
    side = side_of(net, stem.iloc[0]) if len(stem) else None
    if side is None or frame["block"].nunique() != (net.depth - 2) // LAYERS_PER_BLOCK + 1:
        return None
    return theory.plain_net(net.depth, net.width, side)


def side_of(net: Net, elements: float) -> int | None:
    """Return the side of the maps of which the stem puts out so many elements; None where no square maps have so many."""
    area = elements / net.batch_size / net.width
    side = round(math.sqrt(area)) if 1 <= area <= LARGEST_SIDE**2 else 0
    return side if side and side**2 == area else None
