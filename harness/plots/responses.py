"""The responses of the layers: He et al. 2015, Fig. 7."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.phases import MOMENTS
from harness.plots.style import draw_line, is_positive, ordered_colours, panel_grids, shared_legend, short, span, wrap


def response_std(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the standard deviation of each convolution's response at the end: one panel per arm, one line per depth.

    The response is the output after the norm, before ReLU and addition. At initialisation with batch normalisation it
    is |gamma| = 1 by construction, so only the end is drawn. `layers` has every run at MOMENTS (`harness.analysis.phases`).
    """
    last = layers[layers["moment"] == MOMENTS[-1]]
    last = last[is_positive(last["response_std"])]
    colours = ordered_colours(last["x"])
    logarithmic = len(last) and last["response_std"].max() / last["response_std"].min() > 100
    y_label = "standard deviation of the response"
    for figure, axes in panel_grids(last["arm"], "layer, from the input", y_label, sharex=True, sharey=True):
        for arm, ax in axes.items():
            rows = last[last["arm"] == arm]
            for value, group in rows.groupby("x"):
                mean = group.groupby("layer")["response_std"].mean()
                draw_line(ax, mean, group, color=colours[value], linewidth=1.3, label=f"{short(x)} {value}")
            medians = rows.groupby("x")["response_std"].median()
            ax.set_title(f"{wrap(arm)}\nmedian {span(x, medians, '.2g')}")
        if logarithmic:
            ax.set_yscale("log")
        else:
            ax.set_ylim(0, 1.06 * last["response_std"].max())
        shared_legend(figure)
        yield figure
