"""Error against depth, and training curves: the two pictures of He et al. 2015, Fig. 6."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.plots.run_tags import belongs, belongs_each
from harness.plots.style import (
    ARMS,
    arm_styles,
    dots,
    key_axis,
    label_outer,
    named,
    ordered_colours,
    pages,
    panels,
    shared_legend,
    short,
    span,
    wrapped,
)

CROSS: Mapping[str, Any] = {"s": 60, "color": "black", "marker": "x", "label": "diverged", "zorder": 4}
"""How a diverged run is marked."""


def error_against(runs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield training and test error against the key `x`: one line an arm (mean over seeds), one dot a run.

    `runs` needs x, arm, status, train_error and test_error in percent. Diverged runs are crossed: their error is that
    of a guess.
    """
    styles = arm_styles(runs["arm"])
    for page in pages(runs["arm"], ARMS):
        shown = runs[runs["arm"].isin(page)]
        figure, axes = panels(1, 2, sharey=True)
        for ax, column, name in zip(axes, ("train_error", "test_error"), ("Training error", "Test error"), strict=True):
            for number, arm in enumerate(page):
                group = shown[shown["arm"] == arm]
                means = group.groupby("x")[column].mean()
                line = ax.plot(means.index, means, **styles[arm], linewidth=1.6, label=arm, markersize=4)
                belongs(line, group)
                dots(ax, group, group[column], styles[arm], number, len(page))
                diverged = group[group["status"] == "diverged"]
                if len(diverged):
                    belongs_each(ax.scatter(diverged["x"], diverged[column], **CROSS), diverged)
            ax.set_title(f"{name}: {_change(shown, column)}")
            key_axis(ax, x, runs["x"])
        axes[0].set_ylim(0, _top(runs))
        axes[0].set_ylabel("error at the end (%)")
        shared_legend(figure, axes)
        yield figure


def error_by_arm(runs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield training and test error of each arm: one row an arm, one bar (mean over seeds) and its dots a value of the key `x`.

    For many arms at few values of `x`; `runs` as for `error_against`. Arms stand in their order, the first on top.
    """
    values = sorted(runs["x"].unique())
    colours = ordered_colours(values)
    for page in pages(runs["arm"], 2 * ARMS):
        shown = runs[runs["arm"].isin(page)]
        thick = 0.8 / len(values)
        figure, axes = panels(1, 2, width=5.2, height=1.0 + 0.3 * len(page) * max(1.0, len(values) / 2), sharey=True)
        for ax, column, name in zip(axes, ("train_error", "test_error"), ("Training error", "Test error"), strict=True):
            for number, value in enumerate(values):
                of = shown[shown["x"] == value]
                rows = of["arm"].map(page.index) + (number - (len(values) - 1) / 2) * thick
                means = of.groupby(rows)[column].mean()
                bars = ax.barh(means.index, means, 0.85 * thick, color=colours[value], alpha=0.35, label=f"{short(x)} {value:g}")
                for bar, (_, group) in zip(bars, of.groupby(rows), strict=True):
                    belongs(bar, group)
                finite = of[column].notna()
                dots = ax.scatter(of[column][finite], rows[finite], s=14, color=[colours[value]], linewidths=0, zorder=3)
                belongs_each(dots, of[finite])
                diverged = of["status"] == "diverged"
                if diverged.any():
                    belongs_each(ax.scatter(of[column][diverged], rows[diverged], **CROSS), of[diverged])
            ax.set_title(f"{name}: {_range(shown, column)}")
            ax.set_xlabel("error at the end (%)")
            ax.set_xlim(0, _top(runs))
        axes[0].set_yticks(range(len(page)), [wrapped(arm) for arm in page])
        axes[0].set_ylim(len(page) - 0.5, -0.5)
        shared_legend(figure, axes)
        yield figure


def _top(runs: pd.DataFrame) -> float:
    """Return the end of an axis on which all errors lie that are numbers."""
    errors = runs[["train_error", "test_error"]].to_numpy()
    return 1.06 * max(1.0, float(errors[np.isfinite(errors)].max(initial=0)))


def _range(runs: pd.DataFrame, column: str) -> str:
    """Say the least and the largest mean of an arm and x."""
    means = runs.groupby(["arm", "x"])[column].mean()
    return f"{means.min():.1f} to {means.max():.1f} %"


def _change(runs: pd.DataFrame, column: str) -> str:
    """Say what is seen from the smallest to the largest x: the change of each of at most two arms, else their number."""
    arms = list(runs.groupby("arm", sort=False))
    means = [(named(str(arm)), group.groupby("x")[column].mean()) for arm, group in arms]
    if len(means) > 2 or any(len(mean) < 2 for _, mean in means):
        return f"{len(runs)} runs, {len(arms)} arm{'s' if len(arms) > 1 else ''}"
    said = [f"{name} {mean.iloc[0]:.1f} → {mean.iloc[-1]:.1f} %" for name, mean in means]
    return "\n" + (", " if sum(map(len, said)) <= 40 else "\n").join(said)


def curves(epochs: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield error against step: thin, training batches as trained on; bold, test images; one panel an arm."""
    values = sorted(epochs["x"].unique())
    colours = ordered_colours(values)
    for page in pages(epochs["arm"], 6):
        figure, axes = panels((len(page) + 2) // 3, min(len(page), 3), sharex=True, sharey=True)
        for ax, arm in zip(axes, page, strict=False):
            for value, group in epochs[epochs["arm"] == arm].groupby("x"):
                mean = group.groupby("step")[["batch_error", "test_error"]].mean()
                mean = mean.where((mean >= 0) & (mean <= 100))  # a dashed line far beyond the panel takes for ever to draw
                test = mean["test_error"].dropna()
                batches = ax.plot(mean.index, mean["batch_error"], color=colours[value], linewidth=0.8, linestyle="--")
                tests = ax.plot(test.index, test, color=colours[value], linewidth=1.8, label=f"{short(x)} {value}")
                belongs([*batches, *tests], group)
            ax.set_title(f"{wrapped(arm)}\n{_ends(epochs[epochs['arm'] == arm], x)}")
            ax.set_ylim(0, 100)
        label_outer(axes, len(page), "step (updates)", "error (%)\ndashed: training batches, bold: test")
        shared_legend(figure, axes)
        yield figure


def _ends(epochs: pd.DataFrame, x: str) -> str:
    """Say the final test error at the smallest and the largest x."""
    last = epochs[epochs["step"] == epochs.groupby("run")["step"].transform("max")].groupby("x")["test_error"].mean()
    return f"final test error\n{span(x, last, '.1f')} %"
