"""How every figure looks: colours that colour-blind readers can tell apart, axes, and files that are the same bytes."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import ScaledTranslation
from PIL import Image

from harness.plots import run_tags
from harness.records.value_types import printable

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito 2008, without the yellow, which is lost on white."""
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":", "-.")
FIXED = {"shortcut=identity": 0, "shortcut=none": 1, "shortcut=projection": 2, "shortcut=projection_all": 3}
ARMS = 12
"""Arms that share one panel at most."""
STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "depth-harness",
    "svg.fonttype": "path",
}
UNSHOWN = "Glyph .* missing|.*does not support|.*axes sizes collapsed to zero"
"""Beginnings of warnings about text that the font or a figure of this size has no room for; it is no user's concern."""
LONGEST = 160
"""Characters of an arm's name at most in a figure."""


def panels(rows: int, columns: int, width: float = 4.2, height: float = 3.2, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of rows x columns panels (inches each) and its axes, row by row."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def save(figure: Figure) -> dict[str, bytes]:
    """Return the figure as {"svg": ..., "png": ...}, the latter in at most 256 colours; equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    _as_written(figure)
    files = {}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNSHOWN)
        for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, dpi=110)
            files[kind] = run_tags.readable(buffer.getvalue()) if kind == "svg" else _small(buffer)
            figure.set_layout_engine(None)  # laid out once, for both
    return files


def _as_written(figure: Figure) -> None:
    """Have all text drawn as it is written but for powers of ten at ticks, which are formulas: names may hold anything."""
    powers: set[Artist] = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        labels = axis.get_ticklabels(which="both")  # which are made only now
        if isinstance(axis.get_major_formatter(), LogFormatter):
            powers.update([*labels, axis.get_offset_text()])
    for text in figure.findobj(Text):
        if text not in powers:
            assert isinstance(text, Text)
            text.set_parse_math(False)
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))


def _small(png: io.BytesIO) -> bytes:
    """Return a PNG in at most 256 colours: a third of the bytes, since findings are committed."""
    file = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def arm_styles(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and line for each arm, no two alike up to 56; the shortcuts keep theirs from sweep to sweep."""
    names = list(dict.fromkeys(arms))
    places = [FIXED[name] for name in names] if all(name in FIXED for name in names) else range(len(names))
    return {
        name: {
            "color": OKABE_ITO[place % len(OKABE_ITO)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": LINES[place // len(OKABE_ITO) % len(LINES)],
        }
        for name, place in zip(names, places, strict=True)
    }


def ordered_colours(values: Sequence[Any]) -> dict[Any, Any]:
    """Return colours from light to dark for values in rising order (depths)."""
    ramp = mpl.colormaps["viridis"]
    places = np.linspace(0.78, 0.05, len(values)) if len(values) != 1 else [0.3]
    return {value: ramp(place) for value, place in zip(values, places, strict=True)}


def shared_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels below them, as many columns as its labels leave room for."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(cut(label), handle)
    if found:
        with mpl.rc_context(STYLE):
            inches = 0.6 + 0.085 * max(len(label) for label in found)
            columns = max(1, min(len(found), int(figure.get_figwidth() / inches)))
            figure.set_figheight(figure.get_figheight() + 0.22 * math.ceil(len(found) / columns))
            figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def label_outer(axes: Sequence[Axes], used: int, x_label: str, y_label: str) -> None:
    """Hide the panels beyond `used`, three a row, and label those on the left and at the bottom."""
    columns = min(used, 3)
    for place, ax in enumerate(axes):
        ax.set_visible(place < used)
        if place % columns == 0:
            ax.set_ylabel(y_label)
        if place + columns >= used:
            ax.set_xlabel(x_label)
            ax.tick_params(labelbottom=True)


def log_axis(ax: Axes, values: pd.Series) -> float:
    """Make the vertical axis logarithmic, and return the level at which true zeros are drawn (nan if there are none).

    Zeros cannot lie on a log axis, and leaving them out would hide underflow: they stand on a labelled line.
    """
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    ax.set_yscale("log")
    if len(positive) == len(finite):
        return math.nan
    level = 10.0 ** (math.floor(math.log10(positive.min())) - 2) if len(positive) else 1e-45
    ax.set_ylim(bottom=level / 10, top=max(positive.max() * 10, level * 100) if len(positive) else 1.0)
    ax.axhline(level, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)))
    place: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "ha": "right"}
    ax.annotate("exactly zero (no nonzero element)", (0.99, level), (0, 3), fontsize=7, **place)
    return level


def drawn(values: pd.Series, level: float) -> pd.Series:
    """Return values fit for the log axis: zeros at `level`, what is not finite left out."""
    return values.where(values != 0, level).where(np.isfinite(values))


def dots(ax: Axes, frame: pd.DataFrame, y: pd.Series, style: Mapping[str, Any], number: int, arms: int) -> None:
    """Draw one dot a run at its `x` of the frame, those of arm `number` of `arms` (from 0) beside those of the others.

    They are smaller where there are many; what is not finite is left out.
    """
    aside = ScaledTranslation((number - (arms - 1) / 2) * 3 / 72, 0, ax.figure.dpi_scale_trans)
    look = {"color": style["color"], "marker": style["marker"], "s": 16 if len(y) <= 100 else 4, "alpha": 0.55, "linewidths": 0}
    finite = np.isfinite(y)
    x, y = frame["x"][finite], y[finite]
    run_tags.belongs_each(ax.scatter(x, y, transform=ax.transData + aside, **look), frame[finite])
    ax.update_datalim(np.column_stack([x, y]))  # which what is moved aside does not do by itself
    ax.autoscale_view()


def short(key: str) -> str:
    """Return a key without its group: learning_rate for schedule.learning_rate."""
    return key.rpartition(".")[2]


def named(arm: str) -> str:
    """Return an arm's name for a title: without its key, unless the value alone is a number."""
    value = arm.rpartition("=")[2]
    return cut(arm if value.lstrip("-").replace(".", "").isdigit() else value)


def span(key: str, values: pd.Series, form: str) -> str:
    """Say how a value changes from the first to the last of its index, as titles do: at depth 20 → 110: 1.9 → 89.4.

    `values` has the key's values as its index; `form` is the format of a value.
    """
    places = [0, -1] if len(values) > 1 else [0]
    ends = (
        " → ".join(str(values.index[place]) for place in places),
        " → ".join(f"{values.iloc[place]:{form}}" for place in places),
    )
    return f"at {short(key)} {ends[0]}: {ends[1]}"


def wrapped(arm: str) -> str:
    """Return the name of an arm in lines that fit over a panel."""
    return textwrap.fill(cut(arm), 48)


def cut(arm: str) -> str:
    """Return the name of an arm as far as a figure has room for it."""
    return arm if len(arm) <= LONGEST else f"{arm[: LONGEST - 1]}…"


def pages(values: Iterable[Any], size: int) -> list[list[Any]]:
    """Return the distinct values in their order, `size` a page."""
    distinct = list(dict.fromkeys(values))
    return [distinct[start : start + size] for start in range(0, len(distinct), size)]


def key_axis(ax: Axes, key: str, values: Iterable[Any]) -> None:
    """Label the horizontal axis by a key, ticks at its values, logarithmic where they span a factor of 20 or more."""
    ticks = sorted(set(values))
    if ticks[0] > 0 and ticks[-1] / ticks[0] >= 20:
        ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("depth (weighted layers)" if key == "depth" else key)
