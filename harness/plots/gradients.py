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
from harness.plots import theory_lines
from harness.plots.style import (
    ARMS,
    arm_styles,
    arm_title,
    chunks,
    clip_for_log,
    dots,
    draw_line,
    key_axis,
    log_axis,
    ordered_colours,
    panel_grids,
    panel_rows,
    panels,
    shared_legend,
    short,
    span,
    wrap,
)

ZERO = "#CC79A7"
"""The colour of a heat map where there is no positive number."""
LEAST, MOST = 1e-150, 1e150
"""Limits of the colour scale of a heat map: matplotlib's scales go no further."""

TheoryLine = Callable[[pd.DataFrame], pd.Series | None]


def by_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield ||dL/dW|| against layer: a row of panels per arm, a column per moment, a line per depth (median over seeds).

    `layers`, like `blocks` below, has every run at MOMENTS (`harness.analysis.phases`) with arm, x and seed, and `net` if theory
    is to be drawn too.
    """
    labels = "layer, from the input", "gradient norm ||dL/dW||"
    yield from _against_place(layers, x, "layer", labels, theory_lines.gradient_of_weights)


def by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the norm of dL/d(block output) against block, as `by_layer` does."""
    labels = "block, from the input (0: stem)", "||dL/d output||"
    yield from _against_place(blocks, x, "block", labels, theory_lines.gradient_of_outputs)


def forward_by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the root mean square of each block's output against block, as `by_layer` does."""
    forward = blocks.assign(value=blocks["forward_norm"] / blocks["elements"] ** 0.5)
    labels = "block, from the input (0: stem)", "root mean square of the output"
    yield from _against_place(forward, x, "block", labels, theory_lines.signal_of_outputs, "value", at_first=True)


def _against_place(
    table: pd.DataFrame,
    x: str,
    place: str,
    labels: tuple[str, str],
    theory_line: TheoryLine,
    column: str = "grad_norm",
    *,
    at_first: bool = False,
) -> Iterator[Figure]:
    """Yield the figures; the line of theory starts from the measured value at the last place, or at the first."""
    colours = ordered_colours(table["x"])
    by_moment = _by_moment(table, column)
    for figure, axes in panel_rows(table["arm"], 3, *labels):
        has_theory = False
        for arm, row in axes.items():
            frames = {moment: frame[frame["arm"] == arm] for moment, frame in by_moment.items()}
            for ax, (moment, frame) in zip(row, frames.items(), strict=True):
                level = log_axis(ax, pd.concat([frame["value"] for frame in frames.values()]))
                for value, group in frame.groupby("x"):
                    median = group.groupby(place)["value"].median()
                    look = {"color": colours[value], "linewidth": 1.4, "label": f"{short(x)} {value}"}
                    draw_line(ax, clip_for_log(median, level), group, **look)
                    if moment == MOMENTS[0] and (predicted := theory_line(group)) is not None:
                        end = 0 if at_first else -1
                        scaled = theory_lines.visible(predicted * (median.iloc[end] / predicted.iloc[end]))
                        draw_line(ax, scaled, group, color=colours[value], **theory_lines.THEORY)
                        has_theory = True
                titles = [wrap(arm) if moment == MOMENTS[0] else "", moment, _ratio(frame, x, place)]
                if moment == MOMENTS[0] and (factor := _factor(frame, place, theory_line)):
                    titles.append(factor)
                ax.set_title("\n".join(titles), fontsize=9)
                _count_not_finite(ax, frame)
        if has_theory:
            figure.axes[-1].plot([], [], **theory_lines.LEGEND)
        shared_legend(figure)
        yield figure


def _by_moment(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    return {moment: table[table["moment"] == moment].assign(value=table[column]) for moment in MOMENTS}


def _ratio(frame: pd.DataFrame, x: str, place: str) -> str:
    """Describe the ratio of the value at the first place to that at the last, for the largest x."""
    if frame.empty:
        return "not probed"
    deepest = frame[frame["x"] == frame["x"].max()].groupby(place)["value"].median()
    first, last = deepest.iloc[0], deepest.iloc[-1]
    ratio = f"{first / last:.1e}" if last > 0 and np.isfinite(first) else "undefined"
    return f"first / last {place} at {short(x)} {frame['x'].max()}: {ratio}"


def _factor(frame: pd.DataFrame, place: str, theory_line: TheoryLine) -> str:
    """Describe the factor per layer towards the input at the largest x, measured and predicted; "" without a prediction."""
    deepest = frame[frame["x"] == frame["x"].max()]
    predicted = theory_line(deepest) if len(deepest) else None
    if predicted is None:
        return ""
    measured = theory_lines.factor_towards_input(deepest, place)
    return f"per layer towards the input: {theory_lines.compare(measured, theory_lines.predicted_factor(predicted, place))}"


def first_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against the key `x`: one line per arm (median over seeds), one dot per run."""
    by_moment = _by_moment(layers[layers["layer"] == 1], "grad_norm")
    styles = arm_styles(layers["arm"])
    for arms in chunks(layers["arm"], ARMS):
        frames = {moment: frame[frame["arm"].isin(arms)] for moment, frame in by_moment.items()}
        everything = pd.concat([frame["value"] for frame in frames.values()])
        figure, axes = panels(1, 3, sharey=True)
        for ax, (moment, frame) in zip(axes, frames.items(), strict=True):
            level = log_axis(ax, everything)
            for number, arm in enumerate(arms):
                group = frame[frame["arm"] == arm]
                median = clip_for_log(group.groupby("x")["value"].median(), level)
                draw_line(ax, median, group, **styles[arm], linewidth=1.6, markersize=4, label=arm)
                dots(ax, group, clip_for_log(group["value"], level), styles[arm], number, len(arms))
            factor = _factor_of_depth(ax, frame, styles) if moment == MOMENTS[0] and x == "depth" else ""
            ax.set_title(f"{moment}\n{_change(frame)}{factor}", fontsize=9)
            key_axis(ax, x, layers["x"])
            _count_not_finite(ax, frame)
        axes[0].set_ylabel("||dL/dW|| of the first layer")
        shared_legend(figure)
        yield figure


def first_layer_by_step(norms: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against step, both logarithmic: one panel per arm, one line per `x` (median over seeds).

    `norms` has `step` (number of optimizer updates completed) and `grad_norm`. The first step is drawn at 1, since a logarithmic
    axis has no 0.
    """
    colours = ordered_colours(norms["x"])
    y_label = "||dL/dW|| of the first layer"
    for figure, axes in panel_grids(norms["arm"], "step (the first is 1)", y_label, sharex=True, sharey=True):
        shown = norms[norms["arm"].isin(axes)]
        for arm, ax in axes.items():
            level = log_axis(ax, shown["grad_norm"])
            rows = shown[shown["arm"] == arm]
            for value, group in rows.groupby("x"):
                median = clip_for_log(group.groupby("step")["grad_norm"].median(), level)
                ax.plot(median.index + 1, median, color=colours[value], linewidth=1.0, label=f"{short(x)} {value}")
            last = rows[rows["step"] == rows.groupby("run")["step"].transform("max")].groupby("x")["grad_norm"].median()
            ax.set_title(f"{wrap(arm)}\nat the end, {span(x, last, '.1e')}", fontsize=9)
            ax.set_xscale("log")
        shared_legend(figure)
        yield figure


def _factor_of_depth(ax: Axes, frame: pd.DataFrame, styles: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the theory of plain nets with BN from the measured value at the least depth, and describe their factor per layer."""
    arms = {arm: rows for arm, rows in frame.groupby("arm", sort=False) if theory_lines.explodes(rows)}
    arms = {arm: rows for arm, rows in arms.items() if rows["x"].nunique() > 1}
    for arm, rows in arms.items():
        median = rows.groupby("x")["value"].median()
        predicted = pd.Series(median.iloc[0] * theory.GRADIENT_FACTOR ** (median.index - median.index[0]), index=median.index)
        draw_line(ax, predicted, rows, color=styles[arm]["color"], **theory_lines.THEORY)
    if not arms:
        return ""
    ax.plot([], [], **theory_lines.LEGEND)
    factors = sorted((theory_lines.factor_of_depth(rows) for rows in arms.values()), key=lambda factor: factor.value)
    if len(factors) == 1:
        return f"\nplain with BN, per layer of depth: {theory_lines.compare(factors[0], theory.GRADIENT_FACTOR)}"
    known = [factor for factor in factors if factor.known]
    hull = f", within [{min(factor.low for factor in known):.3f}, {max(factor.high for factor in known):.3f}]" if known else ""
    measured = f"{factors[0].value:.3f} to {factors[-1].value:.3f}{hull}"
    return f"\n{len(factors)} plain arms with BN, per layer of depth:\n{measured}, theory {theory.GRADIENT_FACTOR:.3f}"


def _change(frame: pd.DataFrame) -> str:
    """Describe the change from the smallest to the largest x of each of at most two arms; otherwise count the arms."""
    medians = {str(arm): group.groupby("x")["value"].median() for arm, group in frame.groupby("arm", sort=False)}
    if len(medians) > 2 or any(len(median) < 2 for median in medians.values()):
        return f"{len(medians)} arm{'s' if len(medians) > 1 else ''}"
    return ", ".join(f"{arm_title(arm)} {m.iloc[0]:.2g} → {m.iloc[-1]:.2g}" for arm, m in medians.items()) or "not probed"


def heat_maps(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield a map of ||dL/dW|| by probed step and layer for each run; pink where it is exactly zero or not finite.

    `layers` has the rows of these runs at every probed step.
    """
    runs = layers.drop_duplicates("run").sort_values(["arm", "x", "seed"])["run"]
    finite = layers["grad_norm"][np.isfinite(layers["grad_norm"]) & (layers["grad_norm"] > 0)]
    least, most = (finite.min(), finite.max()) if len(finite) else (LEAST, 1.0)
    scale = LogNorm(min(max(least, LEAST), MOST), 1.0001 * min(max(most, LEAST), MOST))
    for figure, axes in panel_grids(runs, "step (probed steps, not to scale)", "layer, from the input", height=2.9):
        all_axes = figure.axes
        for run, ax in axes.items():
            rows = layers[layers["run"] == run]
            grid = rows.pivot_table(index="layer", columns="step", values="grad_norm", dropna=False)
            ax.set_facecolor(ZERO)
            masked = np.ma.masked_less_equal(np.ma.masked_invalid(grid.to_numpy()), 0)
            edges = np.arange(grid.shape[1] + 1), np.arange(grid.shape[0] + 1) + 0.5
            mesh = ax.pcolormesh(*edges, masked, norm=scale, cmap="cividis", rasterized=True)
            _step_ticks(ax, [int(step) for step in grid.columns])
            first = rows.iloc[0]
            ax.set_title(f"{wrap(first['arm'])}\n{short(x)} {first['x']}, seed {first['seed']}", fontsize=9)
            ax.grid(False)
            ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if len(finite):
            figure.suptitle(f"nonzero gradient norms from {finite.min():.0e} to {finite.max():.0e}", fontsize=10)
        figure.colorbar(mesh, ax=all_axes, label="gradient norm ||dL/dW||", shrink=0.8)
        yield figure


def _step_ticks(ax: Axes, steps: list[int]) -> None:
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    ax.set_xticks(places + 0.5, [str(steps[place]) for place in places])


def _count_not_finite(ax: Axes, frame: pd.DataFrame) -> None:
    if count := int((~np.isfinite(frame["value"])).sum()):
        ax.text(0.02, 0.93, f"{count} value(s) not finite, not drawn", transform=ax.transAxes, fontsize=7)
