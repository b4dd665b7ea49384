"""Alt text for a figure: its panels' titles, axes with their ranges, and lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter

COLOURBAR = "<colorbar>"


def describe(figure: Figure) -> str:
    """Return the alt text; ranges are those of the data drawn, over all panels."""
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != COLOURBAR]
    bars = [ax.get_ylabel() for ax in figure.axes if ax.get_label() == COLOURBAR]
    lines = dict.fromkeys(text.get_text() for legend in figure.legends for text in legend.get_texts())
    titles = [" ".join(ax.get_title().split()) for ax in panels]
    sentences = [f"{len(panels)} panels." if len(panels) > 1 else "", _axis(panels, "xaxis"), _axis(panels, "yaxis")]
    sentences += [f"Colour: {', '.join(bars)}." if bars else "", f"Lines: {', '.join(lines)}." if lines else ""]
    overall = figure.get_suptitle()
    sentences += [f"{overall}." if overall else "", " | ".join(filter(None, titles))]
    return " ".join(" ".join(sentences).split())


def _axis(panels: Sequence[Axes], name: str) -> str:
    axes: list[Axis] = [getattr(ax, name) for ax in panels]
    direction = "Horizontal" if name == "xaxis" else "Vertical"
    label = next((" ".join(label.split()) for axis in axes if (label := axis.get_label_text())), "") or "no label"
    ticks = axes[0].get_major_formatter() if axes else None
    if isinstance(ticks, FixedFormatter) and (texts := [" ".join(tick.split()) for tick in ticks.seq if tick]):
        return f"{direction}: {label}, {texts[0]} to {texts[-1]}."
    ends = [end for ax in panels for end in (ax.dataLim.intervalx if name == "xaxis" else ax.dataLim.intervaly)]
    finite = [end for end in ends if math.isfinite(end)]
    scale = ", logarithmic" if axes and axes[0].get_scale() == "log" else ""
    return f"{direction}: {label}, {min(finite):.3g} to {max(finite):.3g}{scale}." if finite else f"{direction}: {label}."
