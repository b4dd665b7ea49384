"""How strongly layers respond: He et al. 2015, Fig. 7."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.phases import MOMENTS
from harness.plots.run_tags import belongs
from harness.plots.style import label_outer, ordered_colours, pages, panels, shared_legend, short, span, wrapped


def response_std(layers: pd.DataFrame, x: str) -> Iterator[Figure]:
    """Yield the standard deviation of each convolution's response at the end: one line a depth, one panel an arm.

    The response is the output after the norm, before ReLU and addition. At initialisation with batch normalisation it
    is |gamma| = 1 by construction, so only the end is drawn. `layers` holds the moments of every run (`harness.analysis.phases`).
    """
    last = layers[layers["moment"] == MOMENTS[-1]]
    last = last[np.isfinite(last["response_std"]) & (last["response_std"] > 0)]
    values = sorted(last["x"].unique())
    colours = ordered_colours(values)
    wide = len(last) and last["response_std"].max() / last["response_std"].min() > 100
    for page in pages(last["arm"], 6):
        figure, axes = panels((len(page) + 2) // 3, min(len(page), 3), sharex=True, sharey=True)
        for ax, arm in zip(axes, page, strict=False):
            rows = last[last["arm"] == arm]
            for value, group in rows.groupby("x"):
                mean = group.groupby("layer")["response_std"].mean()
                belongs(ax.plot(mean.index, mean, color=colours[value], linewidth=1.3, label=f"{short(x)} {value}"), group)
            medians = rows.groupby("x")["response_std"].median()
            ax.set_title(f"{wrapped(arm)}\nmedian {span(x, medians, '.2g')}")
        if wide:
            axes[0].set_yscale("log")
        else:
            axes[0].set_ylim(0, 1.06 * last["response_std"].max())
        label_outer(axes, len(page), "layer, from the input", "standard deviation of the response")
        shared_legend(figure, axes)
        yield figure
