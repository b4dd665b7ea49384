"""Error against depth, and training curves: the two figures of He et al. 2015, Fig. 6."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.plots import style
from harness.plots.run_tags import tag, tag_each
from harness.plots.style import short

CROSS: Mapping[str, Any] = {"s": 60, "color": "black", "marker": "x", "label": "diverged", "zorder": 4}
"""The mark of a diverged run."""
PANELS = {"train_error": "Training error", "test_error": "Test error"}


def error_against(runs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield training and test error against the key `x`: one line per arm (mean over seeds), one dot per run.

    `runs` needs x, arm, status, train_error and test_error in percent. Crosses mark diverged runs, whose error is a guess's.
    """
    styles = style.arm_styles(runs["arm"])
    for arms in style.chunks(runs["arm"], style.ARMS):
        figure_runs = runs[runs["arm"].isin(arms)]
        figure, axes = style.panels(1, 2, sharey=True)
        for ax, (column, name) in zip(axes, PANELS.items(), strict=True):
            for number, arm in enumerate(arms):
                group = figure_runs[figure_runs["arm"] == arm]
                style.draw_line(
                    ax, group.groupby("x")[column].mean(), group, **styles[arm], linewidth=1.6, label=arm, markersize=4
                )
                style.dots(ax, group, group[column], styles[arm], number, len(arms))
                diverged = group[group["status"] == "diverged"]
                if len(diverged):
                    tag_each(ax.scatter(diverged["x"], diverged[column], **CROSS), diverged)
            ax.set_title(f"{name}: {_change(figure_runs, column)}")
            style.key_axis(ax, x, runs["x"])
        axes[0].set_ylim(0, _top(runs))
        axes[0].set_ylabel("error at the end (%)")
        style.shared_legend(figure)
        yield figure


def error_by_arm(runs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield training and test error by arm: one row per arm, the first on top, with a bar (mean over seeds) and dots per `x`.

    For many arms at few values of the key `x`; `runs` as for `error_against`.
    """
    colours = style.ordered_colours(runs["x"])
    thick = 0.8 / len(colours)
    for arms in style.chunks(runs["arm"], 2 * style.ARMS):
        figure_runs = runs[runs["arm"].isin(arms)]
        figure, axes = style.panels(1, 2, width=5.2, height=1.0 + 0.3 * len(arms) * max(1.0, len(colours) / 2), sharey=True)
        for ax, (column, name) in zip(axes, PANELS.items(), strict=True):
            for number, (value, colour) in enumerate(colours.items()):
                group = figure_runs[figure_runs["x"] == value]
                rows = group["arm"].map(arms.index) + (number - (len(colours) - 1) / 2) * thick
                lengths = group.groupby(rows)[column].mean()
                bars = ax.barh(lengths.index, lengths, 0.85 * thick, color=colour, alpha=0.35, label=f"{short(x)} {value:g}")
                for bar, (_, row) in zip(bars, group.groupby(rows), strict=True):
                    tag(bar, row)
                finite = group[column].notna()
                points = ax.scatter(group[column][finite], rows[finite], s=14, color=[colour], linewidths=0, zorder=3)
                tag_each(points, group[finite])
                diverged = group["status"] == "diverged"
                if diverged.any():
                    tag_each(ax.scatter(group[column][diverged], rows[diverged], **CROSS), group[diverged])
            means = figure_runs.groupby(["arm", "x"])[column].mean()
            ax.set_title(f"{name}: {means.min():.1f} to {means.max():.1f} %")
            ax.set_xlabel("error at the end (%)")
            ax.set_xlim(0, _top(runs))
        axes[0].set_yticks(range(len(arms)), [style.wrap(arm) for arm in arms])
        axes[0].set_ylim(len(arms) - 0.5, -0.5)
        style.shared_legend(figure)
        yield figure


def _top(runs: pd.DataFrame) -> float:
    """Return the end of an axis that contains all finite errors."""
    errors = runs[["train_error", "test_error"]].to_numpy()
    return 1.06 * max(1.0, float(errors[np.isfinite(errors)].max(initial=0)))


def _change(runs: pd.DataFrame, column: str) -> str:
    """Describe the change of the mean error of at most two arms; otherwise count runs and arms."""
    changes = [f"{change} %" for change in style.change_by_arm(runs, column, "mean", ".1f")]
    if changes:
        return "\n" + (", " if sum(map(len, changes)) <= 40 else "\n").join(changes)
    count = runs["arm"].nunique()
    return f"{len(runs)} runs, {count} arm{'s' if count > 1 else ''}"


def curves(epochs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield error against step, one panel per arm: dashed for the training batches as trained on, bold for test images."""
    colours = style.ordered_colours(epochs["x"])
    y_label = "error (%)\ndashed: training batches, bold: test"
    for figure, axes in style.panel_grids(epochs["arm"], "step (updates)", y_label, sharex=True, sharey=True):
        for arm, ax in axes.items():
            rows = epochs[epochs["arm"] == arm]
            for value, group in rows.groupby("x"):
                mean = group.groupby("step")[["batch_error", "test_error"]].mean()
                mean = mean.where((mean >= 0) & (mean <= 100))  # a dashed line far beyond the panel takes very long to draw
                style.draw_line(ax, mean["batch_error"], group, color=colours[value], linewidth=0.8, linestyle="--")
                test = mean["test_error"].dropna()
                style.draw_line(ax, test, group, color=colours[value], linewidth=1.8, label=f"{short(x)} {value}")
            last = rows[rows["step"] == rows.groupby("run")["step"].transform("max")].groupby("x")["test_error"].mean()
            ax.set_title(f"{style.wrap(arm)}\nfinal test error\n{style.span(x, last, '.1f')} %")
            ax.set_ylim(0, 100)
        style.shared_legend(figure)
        yield figure
