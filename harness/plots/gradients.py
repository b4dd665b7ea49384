"""The gradient on its way from the loss to the first layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.analysis import theory
from harness.analysis.phases import MOMENTS
from harness.plots import style, theory_lines
from harness.plots.style import short

ZERO = "#CC79A7"
"""The colour of a heat map where there is no positive number."""
LEAST, MOST = 1e-150, 1e150
"""Limits of the colour scale of a heat map: matplotlib's scales go no further."""
X_LABELS = {"layer": "layer, from the input", "block": "block, from the input (0: stem)"}
"""Labels of the horizontal axis."""
TheoryLine = Callable[[pd.DataFrame], pd.Series | None]


def by_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield ||dL/dW|| against layer: a row of panels per arm, a column per moment, a line per depth (median over seeds).

    `layers`, like `blocks` below, has every run at MOMENTS (`harness.analysis.phases`) with arm, x and seed, and `net` if theory
    is to be drawn too.
    """
    values = layers.assign(value=layers["grad_norm"])
    yield from _along_network(values, x, "layer", "gradient norm ||dL/dW||", theory_lines.gradient_of_weights)


def by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the norm of dL/d(block output) against block, as `by_layer` does."""
    values = blocks.assign(value=blocks["grad_norm"])
    yield from _along_network(values, x, "block", "||dL/d output||", theory_lines.gradient_of_outputs)


def forward_by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the root mean square of each block's output against block, as `by_layer` does."""
    values = blocks.assign(value=blocks["forward_norm"] / blocks["elements"] ** 0.5)
    label = "root mean square of the output"
    yield from _along_network(values, x, "block", label, theory_lines.signal_of_outputs, from_first=True)


def _along_network(
    table: pd.DataFrame, x: str, column: str, label: str, theory_line: TheoryLine, *, from_first: bool = False
) -> Iterator[Figure]:
    """Yield `value` against `column` (layer or block); the line of theory starts from the measured last value, or the first."""
    colours = style.ordered_colours(table["x"])
    anchor = 0 if from_first else -1
    for figure, axes in style.panel_rows(table["arm"], 3, X_LABELS[column], label):
        for arm, row in axes.items():
            of_arm = table[table["arm"] == arm]
            for ax, moment in zip(row, MOMENTS, strict=True):
                level = style.log_axis(ax, of_arm["value"])
                frame = of_arm[of_arm["moment"] == moment]
                titles = [moment, _ratio(frame, x, column)]
                for value, group in frame.groupby("x"):
                    median = group.groupby(column)["value"].median()
                    look = {"color": colours[value], "linewidth": 1.4, "label": f"{short(x)} {value}"}
                    style.draw_line(ax, style.clip_for_log(median, level), group, **look)
                    if moment == MOMENTS[0] and (predicted := theory_line(group)) is not None:
                        scaled = theory_lines.visible(predicted * (median.iloc[anchor] / predicted.iloc[anchor]))
                        style.draw_line(ax, scaled, group, color=colours[value], **style.THEORY)
                if moment == MOMENTS[0]:
                    titles = [style.wrap(arm), *titles, *_factor(frame, column, theory_line)]
                ax.set_title("\n".join(titles), fontsize=9)
                _count_not_finite(ax, frame)
        style.shared_legend(figure)
        yield figure


def _ratio(frame: pd.DataFrame, x: str, column: str) -> str:
    """Describe the ratio of the value at the first layer or block to that at the last, for the largest x."""
    if frame.empty:
        return "not probed"
    deepest = frame[frame["x"] == frame["x"].max()].groupby(column)["value"].median()
    first, last = deepest.iloc[0], deepest.iloc[-1]
    ratio = f"{first / last:.1e}" if last > 0 and np.isfinite(first) else "undefined"
    return f"first / last {column} at {short(x)} {frame['x'].max()}: {ratio}"


def _factor(frame: pd.DataFrame, column: str, theory_line: TheoryLine) -> list[str]:
    """Describe the factor per layer towards the input at the largest x, measured and predicted; empty without a prediction."""
    deepest = frame[frame["x"] == frame["x"].max()]
    predicted = theory_line(deepest) if len(deepest) else None
    if predicted is None:
        return []
    measured = theory_lines.factor_towards_input(deepest, column)
    return [f"per layer towards the input: {theory_lines.compare(measured, theory_lines.predicted_factor(predicted, column))}"]


def first_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against the key `x`: one line per arm (median over seeds), one dot per run."""
    table = layers[layers["layer"] == 1].assign(value=layers["grad_norm"])
    styles = style.arm_styles(layers["arm"])
    for arms in style.chunks(layers["arm"], style.ARMS):
        of_arms = table[table["arm"].isin(arms)]
        figure, axes = style.panels(1, 3, sharey=True)
        for ax, moment in zip(axes, MOMENTS, strict=True):
            level = style.log_axis(ax, of_arms["value"])
            frame = of_arms[of_arms["moment"] == moment]
            for number, arm in enumerate(arms):
                group = frame[frame["arm"] == arm]
                median = style.clip_for_log(group.groupby("x")["value"].median(), level)
                style.draw_line(ax, median, group, **styles[arm], linewidth=1.6, markersize=4, label=arm)
                style.dots(ax, group, style.clip_for_log(group["value"], level), styles[arm], number, len(arms))
            count = frame["arm"].nunique()
            change = ", ".join(style.change_by_arm(frame, "value", "median", ".2g")) or f"{count} arm{'s' if count > 1 else ''}"
            factor = _factor_of_depth(ax, frame, styles) if moment == MOMENTS[0] and x == "depth" else ""
            ax.set_title(f"{moment}\n{change if count else 'not probed'}{factor}", fontsize=9)
            style.key_axis(ax, x, layers["x"])
            _count_not_finite(ax, frame)
        axes[0].set_ylabel("||dL/dW|| of the first layer")
        style.shared_legend(figure)
        yield figure


def first_layer_by_step(norms: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against step, both logarithmic: one panel per arm, one line per `x` (median over seeds).

    `norms` has `step` (number of optimizer updates completed) and `grad_norm`. The first step is drawn at 1, since a logarithmic
    axis has no 0.
    """
    colours = style.ordered_colours(norms["x"])
    y_label = "||dL/dW|| of the first layer"
    for figure, axes in style.panel_grids(norms["arm"], "step (the first is 1)", y_label, sharex=True, sharey=True):
        of_arms = norms[norms["arm"].isin(axes)]
        for arm, ax in axes.items():
            level = style.log_axis(ax, of_arms["grad_norm"])
            rows = of_arms[of_arms["arm"] == arm]
            for value, group in rows.groupby("x"):
                median = style.clip_for_log(group.groupby("step")["grad_norm"].median(), level)
                median.index += 1
                style.draw_line(ax, median, group, color=colours[value], linewidth=1.0, label=f"{short(x)} {value}")
            last = rows[rows["step"] == rows.groupby("run")["step"].transform("max")].groupby("x")["grad_norm"].median()
            ax.set_title(f"{style.wrap(arm)}\nat the end, {style.span(x, last, '.1e')}", fontsize=9)
            ax.set_xscale("log")
        style.shared_legend(figure)
        yield figure


def _factor_of_depth(ax: Axes, frame: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the theory of plain nets with BN from the measured value at the least depth, and describe their factor per layer."""
    groups = frame.groupby("arm", sort=False)
    arms = {arm: rows for arm, rows in groups if theory_lines.explodes(rows) and rows["x"].nunique() > 1}
    for arm, rows in arms.items():
        median = rows.groupby("x")["value"].median()
        predicted = pd.Series(median.iloc[0] * theory.GRADIENT_FACTOR ** (median.index - median.index[0]), index=median.index)
        style.draw_line(ax, predicted, rows, color=styles[arm]["color"], **style.THEORY)
    if not arms:
        return ""
    factors = sorted((theory_lines.factor_of_depth(rows) for rows in arms.values()), key=lambda factor: factor.value)
    if len(factors) == 1:
        return f"\nplain with BN, per layer of depth: {theory_lines.compare(factors[0], theory.GRADIENT_FACTOR)}"
    known = [factor for factor in factors if factor.known]
    hull = f", within [{min(factor.low for factor in known):.3f}, {max(factor.high for factor in known):.3f}]" if known else ""
    measured = f"{factors[0].value:.3f} to {factors[-1].value:.3f}{hull}"
    return f"\n{len(factors)} plain arms with BN, per layer of depth:\n{measured}, theory {theory.GRADIENT_FACTOR:.3f}"


def heat_maps(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield a map of ||dL/dW|| by probed step and layer for each run; pink where it is exactly zero or not finite.

    `layers` has the rows of these runs at every probed step.
    """
    runs = layers.drop_duplicates("run").sort_values(["arm", "x", "seed"])["run"]
    norms = layers["grad_norm"][style.is_positive(layers["grad_norm"])]
    least, most = np.clip((norms.min(), norms.max()) if len(norms) else (LEAST, 1.0), LEAST, MOST)
    scale = LogNorm(least, 1.0001 * most)
    for figure, axes in style.panel_grids(runs, "step (probed steps, not to scale)", "layer, from the input", height=2.9):
        for run, ax in axes.items():
            rows = layers[layers["run"] == run]
            grid = rows.pivot_table(index="layer", columns="step", values="grad_norm", dropna=False)
            ax.set_facecolor(ZERO)
            masked = np.ma.masked_less_equal(np.ma.masked_invalid(grid.to_numpy()), 0)
            edges = np.arange(grid.shape[1] + 1), np.arange(grid.shape[0] + 1) + 0.5
            mesh = ax.pcolormesh(*edges, masked, norm=scale, cmap="cividis", rasterized=True)
            ticks = np.unique(np.linspace(0, grid.shape[1] - 1, min(grid.shape[1], 6)).round().astype(int))
            ax.set_xticks(ticks + 0.5, [f"{step:.0f}" for step in grid.columns[ticks]])
            first = rows.iloc[0]
            ax.set_title(f"{style.wrap(first['arm'])}\n{short(x)} {first['x']}, seed {first['seed']}", fontsize=9)
            ax.grid(False)
            ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if len(norms):
            figure.suptitle(f"nonzero gradient norms from {norms.min():.0e} to {norms.max():.0e}", fontsize=10)
        figure.colorbar(mesh, ax=figure.axes, label="gradient norm ||dL/dW||", shrink=0.8)
        yield figure


def _count_not_finite(ax: Axes, frame: pd.DataFrame) -> None:
    if count := int((~np.isfinite(frame["value"])).sum()):
        ax.text(0.02, 0.93, f"{count} value(s) not finite, not drawn", transform=ax.transAxes, fontsize=7)
