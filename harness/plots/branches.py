"""The size of a residual branch relative to its input: De and Smith 2020."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from harness.analysis import stats, theory
from harness.analysis.phases import MOMENTS
from harness.analysis.stats import Estimate
from harness.plots import theory_lines
from harness.plots.style import THEORY, draw_line, is_positive, ordered_colours, panel_rows, shared_legend, short, wrap

START, END = MOMENTS[0], MOMENTS[2]
ORDERS = ("original", "preactivation")
"""The activation orders that theory covers."""


def branch_over_input(branches: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield branch over input against block at the first and last moment: a row of panels per arm, a line per depth (median).

    `branches` is that of `harness.analysis.tables.Tables`.
    """
    finite = branches.assign(value=branches["branch"] / branches["input"])
    finite = finite[is_positive(finite["value"])]
    colours = ordered_colours(finite["x"])
    for figure, axes in panel_rows(finite["arm"], 2, "block l, from the input", "branch over input"):
        for arm, row in axes.items():
            for ax, moment in zip(row, (START, END), strict=True):
                frame = finite[(finite["arm"] == arm) & (finite["moment"] == moment)]
                for value, group in frame.groupby("x"):
                    median = group.groupby("block")["value"].median()
                    draw_line(ax, median, group, color=colours[value], linewidth=1.4, label=f"{short(x)} {value}")
                    if moment == START and (predicted := _theory(group)) is not None:
                        draw_line(ax, predicted, group, color=colours[value], **THEORY)
                titles = [moment]
                if moment == START:
                    titles = [wrap(arm), moment, _compare_powers(frame[frame["x"] == frame["x"].max()], x)]
                    _draw_root(ax, frame)
                _label_axes(ax)
                ax.set_title("\n".join(filter(None, titles)), fontsize=9)
        shared_legend(figure)
        yield figure


def power_of_block(blocks: pd.DataFrame) -> Estimate:
    """Return p of `value` ~ block^p: the least-squares slope of their logarithms, mean over runs."""
    runs = [run for _, run in blocks.groupby("run") if len(run) > 1]
    return stats.mean([_power(run["block"], run["value"]) for run in runs])


def _power(block: pd.Series, value: pd.Series) -> float:
    return stats.slope(np.log(block.astype(float)).tolist(), np.log(value).tolist()).value


def _theory(group: pd.DataFrame) -> pd.Series | None:
    """Return the prediction by block for nets with identity shortcuts and BN in one of ORDERS; None for others."""
    net = theory_lines.net_of(group)
    known = net is not None and (net.shortcut, net.norm) == ("identity", "batch") and net.order in ORDERS
    if net is None or not known or net.init not in theory.INITS:
        return None
    side = theory_lines.side_of(net, group["elements"].iloc[0])
    if side is None or group["block"].max() > net.depth:
        return None
    line = theory.branch_over_input(net.order, net.depth, net.width, side, net.init)
    return pd.Series(line, index=np.arange(1, len(line) + 1))


def _compare_powers(deepest: pd.DataFrame, x: str) -> str:
    """Describe the power of l in stage 1, whose channels share their history, measured and predicted; "" without a prediction."""
    predicted = _theory(deepest) if len(deepest) else None
    if predicted is None or len(predicted) < 6:
        return ""
    last = len(predicted) // 3
    measured = power_of_block(deepest[deepest["block"] <= last])
    interval = f" [{measured.low:.3f}, {measured.high:.3f}]" if measured.known else ""
    expected = _power(predicted.index[:last].to_series(), predicted.iloc[:last])
    return f"stage 1, {short(x)} {deepest['x'].max()}: l to the {measured.value:.3f}{interval}, theory {expected:.3f}"


def _draw_root(ax: Axes, frame: pd.DataFrame) -> None:
    """Draw 1/sqrt(l), to which theory tends at any depth, if theory covers some of the nets."""
    if any(_theory(group) is not None for _, group in frame.groupby("x")):
        blocks = np.arange(1, frame["block"].max() + 1)
        ax.plot(blocks, blocks**-0.5, color="#999999", linewidth=0.8, label="1/sqrt(l)", zorder=1)


def _label_axes(ax: Axes) -> None:
    """Make both axes logarithmic, with labels at 1, 2 and 5 times powers of ten; vertically only if it spans few of these."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    for axis in (ax.xaxis, ax.yaxis) if high / low < 1000 else (ax.xaxis,):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
