"""How small a residual branch is beside what it is added to: De and Smith 2020."""

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
from harness.plots.run_tags import belongs
from harness.plots.style import ordered_colours, pages, panels, shared_legend, short, wrapped

SHOWN = (MOMENTS[0], MOMENTS[2])
ORDERS = ("original", "preactivation")


def branch_over_input(branches: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield branch over input against block: one line a depth (median over seeds), a row an arm, at the first and last moment.

    `branches` is that of `harness.analysis.tables.Tables`.
    """
    finite = branches.assign(value=branches["branch"] / branches["input"])
    finite = finite[np.isfinite(finite["value"]) & (finite["value"] > 0)]
    colours = ordered_colours(sorted(finite["x"].unique()))
    for page in pages(finite["arm"], 4):
        figure, axes = panels(len(page), 2, height=2.9, sharex=True, sharey="row")
        theory_drawn = False
        for row, arm in enumerate(page):
            for ax, moment in zip(axes[2 * row : 2 * row + 2], SHOWN, strict=True):
                frame = finite[(finite["arm"] == arm) & (finite["moment"] == moment)]
                for value, group in frame.groupby("x"):
                    median = group.groupby("block")["value"].median()
                    look = {"color": colours[value], "linewidth": 1.4, "label": f"{short(x)} {value}"}
                    belongs(ax.plot(median.index, median, **look), group)
                    if moment == SHOWN[0] and (theirs := _theory(group)) is not None:
                        belongs(ax.plot(theirs.index, theirs, color=colours[value], **theory_lines.THEORY), group)
                        theory_drawn = True
                title = [wrapped(arm) if moment == SHOWN[0] else "", moment]
                if moment == SHOWN[0]:
                    title.append(_power_in_words(frame[frame["x"] == frame["x"].max()], x))
                    _root(ax, frame)
                _plain_numbers(ax)
                ax.set_title("\n".join(filter(None, title)), fontsize=9)
            axes[2 * row].set_ylabel("branch over input")
        for ax in axes[-2:]:
            ax.set_xlabel("block l, from the input")
        if theory_drawn:
            theory_lines.name_theory(axes[-1])
        shared_legend(figure, axes)
        yield figure


def power_of_block(blocks: pd.DataFrame) -> Estimate:
    """Return p of `value` as block^p: the least-squares slope of their logarithms, mean over runs."""
    runs = [run for _, run in blocks.groupby("run") if len(run) > 1]
    return stats.mean([_power(run["block"], run["value"]) for run in runs])


def _power(block: pd.Series, value: pd.Series) -> float:
    return stats.slope(np.log(block.astype(float)).tolist(), np.log(value).tolist()).value


def _theory(group: pd.DataFrame) -> pd.Series | None:
    """Return what theory says by block of nets with identity shortcuts and BN, in the two orders that it knows."""
    net = theory_lines.net_of(group)
    if (
        net is None
        or net.shortcut != "identity"
        or net.norm != "batch"
        or net.order not in ORDERS
        or net.init not in theory.INITS
    ):
        return None
    side = theory_lines.side_of(net, group["elements"].iloc[0])
    if side is None or group["block"].max() > net.depth:
        return None
    line = theory.branch_over_input(net.order, net.depth, net.width, side, net.init)
    return pd.Series(line, index=np.arange(1, len(line) + 1))


def _power_in_words(deepest: pd.DataFrame, x: str) -> str:
    """Say the power of l in the first stage, whose channels all have the same past, where theory has one too."""
    theirs = _theory(deepest) if len(deepest) else None
    if theirs is None or len(theirs) < 6:
        return ""
    last = len(theirs) // 3
    found = power_of_block(deepest[deepest["block"] <= last])
    interval = f" [{found.low:.3f}, {found.high:.3f}]" if found.known else ""
    expected = _power(theirs.index[:last].to_series(), theirs.iloc[:last])
    return f"stage 1, {short(x)} {deepest['x'].max()}: l to the {found.value:.3f}{interval}, theory {expected:.3f}"


def _root(ax: Axes, frame: pd.DataFrame) -> None:
    """Draw 1/sqrt(l) where theory tends to it, of whatever depth."""
    if any(_theory(group) is not None for _, group in frame.groupby("x")):
        blocks = np.arange(1, frame["block"].max() + 1)
        ax.plot(blocks, blocks**-0.5, color="#999999", linewidth=0.8, label="1/sqrt(l)", zorder=1)


def _plain_numbers(ax: Axes) -> None:
    """Make both axes logarithmic; label 1, 2 and 5 of each power of ten where there are few."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    for axis in (ax.xaxis, ax.yaxis) if high / low < 1000 else (ax.xaxis,):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
