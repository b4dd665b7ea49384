"""A figure in words, for who cannot see it: its titles (which say what is seen), axes with what they span, and its lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter

COLOURBAR = "<colorbar>"


def described(figure: Figure) -> str:
    """Return the words; ranges are those of the data drawn, over all panels."""
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != COLOURBAR]
    bars = [ax.get_ylabel() for ax in figure.axes if ax.get_label() == COLOURBAR]
    lines = dict.fromkeys(text.get_text() for legend in figure.legends for text in legend.get_texts())
    titles = [" ".join(ax.get_title().split()) for ax in panels]
    said = [f"{len(panels)} panels." if len(panels) > 1 else "", _across(panels, "xaxis"), _across(panels, "yaxis")]
    said += [f"Colour: {', '.join(bars)}." if bars else "", f"Lines: {', '.join(lines)}." if lines else ""]
    overall = figure.get_suptitle()
    said += [f"{overall}." if overall else "", " | ".join(filter(None, titles))]
    return " ".join(" ".join(filter(None, said)).split())


def _across(panels: Sequence[Axes], name: str) -> str:
    axes: list[Axis] = [getattr(ax, name) for ax in panels]
    label = next((axis.get_label_text() for axis in axes if axis.get_label_text()), "")
    which = "Horizontal" if name == "xaxis" else "Vertical"
    words = " ".join(label.split()) or "no label"
    ticks = axes[0].get_major_formatter() if axes else None
    if isinstance(ticks, FixedFormatter) and (named := [" ".join(tick.split()) for tick in ticks.seq if tick]):
        return f"{which}: {words}, {named[0]} to {named[-1]}."
    ends = [end for ax in panels for end in (ax.dataLim.intervalx if name == "xaxis" else ax.dataLim.intervaly)]
    finite = [end for end in ends if math.isfinite(end)]
    scale = ", logarithmic" if axes and axes[0].get_scale() == "log" else ""
    return f"{which}: {words}, {min(finite):.3g} to {max(finite):.3g}{scale}." if finite else f"{which}: {words}."
