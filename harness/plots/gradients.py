"""What happens to the gradient on its way from the loss to the first layer."""

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
from harness.plots.run_tags import belongs
from harness.plots.style import (
    ARMS,
    arm_styles,
    dots,
    drawn,
    key_axis,
    label_outer,
    log_axis,
    named,
    ordered_colours,
    pages,
    panels,
    shared_legend,
    short,
    span,
    wrapped,
)

ZERO = "#CC79A7"
"""The colour of a heat map where there is no positive number."""
LEAST, MOST = 1e-150, 1e150
"""Where the colours of a heat map begin at the lowest and end at the highest: matplotlib's scales go no further."""

Line = Callable[[pd.DataFrame], pd.Series | None]


def by_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the norm of dL/dW against layer: one line a depth (median over seeds), a row an arm, a column a moment.

    `layers`, as `blocks` below, holds the moments of every run (`harness.analysis.phases`), with its arm, x and seed, and
    `net` where theory is to stand beside them.
    """
    yield from _against_place(
        layers, x, "layer", "layer, from the input", "gradient norm ||dL/dW||", theory_lines.gradient_of_weights
    )


def by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the norm of dL/d(block output) against block, in the same manner."""
    place = "block, from the input (0: stem)"
    yield from _against_place(blocks, x, "block", place, "||dL/d output||", theory_lines.gradient_of_outputs)


def forward_by_block(blocks: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the root mean square of each block's output against block, in the same manner."""
    forward = blocks.assign(value=blocks["forward_norm"] / blocks["elements"] ** 0.5)
    label = "root mean square of the output"
    yield from _against_place(
        forward, x, "block", "block, from the input (0: stem)", label, theory_lines.signal_of_outputs, "value", at_first=True
    )


def _against_place(
    table: pd.DataFrame,
    x: str,
    place: str,
    place_label: str,
    value_label: str,
    line: Line,
    column: str = "grad_norm",
    *,
    at_first: bool = False,
) -> Iterator[Figure]:
    """Yield the figures; the dotted `line` of theory starts from the measured value at the last place, or the first."""
    values = sorted(table["x"].unique())
    colours = ordered_colours(values)
    found = _by_moment(table, column)
    for page in pages(table["arm"], 4):
        figure, axes = panels(len(page), 3, height=2.9, sharex=True, sharey="row")
        theory_drawn = False
        for row, arm in enumerate(page):
            arms = {name: frame[frame["arm"] == arm] for name, frame in found.items()}
            for ax, (name, frame) in zip(axes[3 * row : 3 * row + 3], arms.items(), strict=True):
                level = log_axis(ax, pd.concat([rows["value"] for rows in arms.values()]))
                for value, group in frame.groupby("x"):
                    median = group.groupby(place)["value"].median()
                    look = {"color": colours[value], "linewidth": 1.4, "label": f"{short(x)} {value}"}
                    belongs(ax.plot(median.index, drawn(median, level), **look), group)
                    if name == MOMENTS[0] and (theirs := line(group)) is not None:
                        start = median.iloc[0] / theirs.iloc[0] if at_first else median.iloc[-1] / theirs.iloc[-1]
                        shown = theory_lines.visible(theirs * start)
                        belongs(ax.plot(shown.index, shown, color=colours[value], **theory_lines.THEORY), group)
                        theory_drawn = True
                titles = [wrapped(arm) if name == MOMENTS[0] else "", name, _ratio(frame, x, place)]
                if name == MOMENTS[0] and (growth := _growth(frame, x, place, line)):
                    titles.append(growth)
                ax.set_title("\n".join(titles), fontsize=9)
                _say_if_not_finite(ax, frame)
            axes[3 * row].set_ylabel(value_label)
        for ax in axes[-3:]:
            ax.set_xlabel(place_label)
        if theory_drawn:
            theory_lines.name_theory(axes[-1])
        shared_legend(figure, axes)
        yield figure


def _by_moment(table: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    return {name: table[table["moment"] == name].assign(value=table[column]) for name in MOMENTS}


def _ratio(frame: pd.DataFrame, x: str, place: str) -> str:
    """Say how the value at the first place stands to that at the last, for the largest x."""
    if frame.empty:
        return "not probed"
    deepest = frame[frame["x"] == frame["x"].max()].groupby(place)["value"].median()
    first, last = deepest.iloc[0], deepest.iloc[-1]
    ratio = f"{first / last:.1e}" if last > 0 and np.isfinite(first) else "undefined"
    return f"first / last {place} at {short(x)} {frame['x'].max()}: {ratio}"


def _growth(frame: pd.DataFrame, x: str, place: str, line: Line) -> str:
    """Say the growth per layer towards the input at the largest x beside that of theory; nothing where theory says nothing."""
    deepest = frame[frame["x"] == frame["x"].max()]
    theirs = line(deepest) if len(deepest) else None
    if theirs is None:
        return ""
    growth = theory_lines.growth_by_place(deepest, place)
    words = theory_lines.in_words(growth, theory_lines.growth_of(theirs, place))
    return f"per layer towards the input: {words}"


def first_layer(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against the key `x`: one line an arm (median over seeds), one dot a run."""
    found = _by_moment(layers[layers["layer"] == 1], "grad_norm")
    styles = arm_styles(layers["arm"])
    for page in pages(layers["arm"], ARMS):
        shown = {name: frame[frame["arm"].isin(page)] for name, frame in found.items()}
        everything = pd.concat([frame["value"] for frame in shown.values()])
        figure, axes = panels(1, 3, sharey=True)
        for ax, (name, frame) in zip(axes, shown.items(), strict=True):
            level = log_axis(ax, everything)
            for number, arm in enumerate(page):
                group = frame[frame["arm"] == arm]
                median = group.groupby("x")["value"].median()
                line = ax.plot(median.index, drawn(median, level), **styles[arm], linewidth=1.6, markersize=4, label=arm)
                belongs(line, group)
                dots(ax, group, drawn(group["value"], level), styles[arm], number, len(page))
            growth = _growth_with_depth(ax, frame, page, styles) if name == MOMENTS[0] and x == "depth" else ""
            ax.set_title(f"{name}\n{_ends(frame)}{growth}", fontsize=9)
            key_axis(ax, x, layers["x"])
            _say_if_not_finite(ax, frame)
        axes[0].set_ylabel("||dL/dW|| of the first layer")
        shared_legend(figure, axes)
        yield figure


def first_layer_by_step(norms: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the first layer's ||dL/dW|| against step, both logarithmic: a panel an arm, a line (median of seeds) a value of `x`.

    `norms` has `step` (updates made) and `norm`. A logarithmic axis has no 0, so the first step stands at 1.
    """
    values = sorted(norms["x"].unique())
    colours = ordered_colours(values)
    for page in pages(norms["arm"], 6):
        shown = norms[norms["arm"].isin(page)]
        figure, axes = panels((len(page) + 2) // 3, min(len(page), 3), sharex=True, sharey=True)
        for ax, arm in zip(axes, page, strict=False):
            level = log_axis(ax, shown["norm"])
            of = shown[shown["arm"] == arm]
            for value, group in of.groupby("x"):
                median = group.groupby("step")["norm"].median()
                ax.plot(median.index + 1, drawn(median, level), color=colours[value], linewidth=1.0, label=f"{short(x)} {value}")
            last = of[of["step"] == of.groupby("run")["step"].transform("max")].groupby("x")["norm"].median()
            ax.set_title(f"{wrapped(arm)}\nat the end, {span(x, last, '.1e')}", fontsize=9)
            ax.set_xscale("log")
        label_outer(axes, len(page), "step (the first is 1)", "||dL/dW|| of the first layer")
        shared_legend(figure, axes)
        yield figure


def _growth_with_depth(ax: Axes, frame: pd.DataFrame, page: list[str], styles: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw what theory says of plain nets with BN, from the measured value at the least depth; say their growth."""
    arms = {arm: frame[frame["arm"] == arm] for arm in page}
    arms = {arm: rows for arm, rows in arms.items() if theory_lines.grows_with_depth(rows) and rows["x"].nunique() > 1}
    for arm, rows in arms.items():
        median = rows.groupby("x")["value"].median()
        theirs = median.iloc[0] * theory.GROWTH ** (median.index - median.index[0])
        belongs(ax.plot(median.index, theirs, color=styles[arm]["color"], **theory_lines.THEORY), rows)
    if not arms:
        return ""
    theory_lines.name_theory(ax)
    found = sorted((theory_lines.growth_by_depth(rows) for rows in arms.values()), key=lambda growth: growth.value)
    if len(found) == 1:
        return f"\nplain with BN, per layer of depth: {theory_lines.in_words(found[0], theory.GROWTH)}"
    known = [growth for growth in found if growth.known]
    hull = f", within [{min(one.low for one in known):.3f}, {max(one.high for one in known):.3f}]" if known else ""
    range_ = f"{found[0].value:.3f} to {found[-1].value:.3f}{hull}"
    return f"\n{len(found)} plain arms with BN, per layer of depth:\n{range_}, theory {theory.GROWTH:.3f}"


def _ends(frame: pd.DataFrame) -> str:
    """Say how the value of each of at most two arms changes from the smallest to the largest x."""
    arms = [(str(arm), group.groupby("x")["value"].median()) for arm, group in frame.groupby("arm", sort=False)]
    if len(arms) > 2 or any(len(median) < 2 for _, median in arms):
        return f"{len(arms)} arm{'s' if len(arms) > 1 else ''}" if arms else "not probed"
    return ", ".join(f"{named(name)} {m.iloc[0]:.2g} → {m.iloc[-1]:.2g}" for name, m in arms)


def heat_maps(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield, for each run, a map of ||dL/dW|| by probed step and layer; pink where it is exactly zero or not finite.

    `layers` holds the rows of these runs at every probed step.
    """
    ordered = layers.drop_duplicates("run").sort_values(["arm", "x", "seed"])["run"]
    finite = layers["grad_norm"][np.isfinite(layers["grad_norm"]) & (layers["grad_norm"] > 0)]
    least, most = (finite.min(), finite.max()) if len(finite) else (LEAST, 1.0)
    scale = LogNorm(min(max(least, LEAST), MOST), 1.0001 * min(max(most, LEAST), MOST))
    for page in pages(ordered, 6):
        shown = layers[layers["run"].isin(page)]
        figure, axes = panels((len(page) + 2) // 3, min(len(page), 3), height=2.9)
        mesh = None
        for ax, run in zip(axes, page, strict=False):
            rows = shown[shown["run"] == run]
            grid = rows.pivot_table(index="layer", columns="step", values="grad_norm", dropna=False)
            ax.set_facecolor(ZERO)
            masked = np.ma.masked_less_equal(np.ma.masked_invalid(grid.to_numpy()), 0)
            edges = np.arange(grid.shape[1] + 1), np.arange(grid.shape[0] + 1) + 0.5
            mesh = ax.pcolormesh(*edges, masked, norm=scale, cmap="cividis", rasterized=True)
            _step_ticks(ax, [int(step) for step in grid.columns])
            ax.set_title(
                f"{wrapped(rows['arm'].iloc[0])}\n{short(x)} {rows['x'].iloc[0]}, seed {rows['seed'].iloc[0]}", fontsize=9
            )
            ax.grid(False)
            ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        label_outer(axes, len(page), "step (probed steps, not to scale)", "layer, from the input")
        if len(finite):
            figure.suptitle(f"nonzero gradient norms from {finite.min():.0e} to {finite.max():.0e}", fontsize=10)
        if mesh is not None:
            figure.colorbar(mesh, ax=axes, label="gradient norm ||dL/dW||", shrink=0.8)
        yield figure


def _step_ticks(ax: Axes, steps: list[int]) -> None:
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    ax.set_xticks(places + 0.5, [str(steps[place]) for place in places])


def _say_if_not_finite(ax: Axes, frame: pd.DataFrame) -> None:
    if count := int((~np.isfinite(frame["value"])).sum()):
        ax.text(0.02, 0.93, f"{count} value(s) not finite, not drawn", transform=ax.transAxes, fontsize=7)
