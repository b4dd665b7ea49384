"""The style of all figures: colour-blind-safe colours, axes, legends, text, and reproducible files."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import ScaledTranslation
from PIL import Image

from harness.plots import run_tags
from harness.records.value_types import printable

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colours of Okabe and Ito 2008 without yellow, which is hard to see on white."""
MARKERS = "osD^vP*X"
LINES = ("-", "--", ":", "-.")
FIXED = {"shortcut=identity": 0, "shortcut=none": 1, "shortcut=projection": 2, "shortcut=projection_all": 3}
ARMS = 12
"""Maximum arms in one panel."""
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
"""Warnings about text that the font lacks or the figure has no room for; users can do nothing about them."""
LONGEST = 160
"""Maximum characters of an arm's name in a figure."""
THEORY: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.3, "label": "_theory"}
"""The style of a line of theory, drawn in the colour of the measurement. Matplotlib leaves labels with _ out of legends."""


def panels(rows: int, columns: int, width: float = 4.2, height: float = 3.2, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of rows x columns panels, each `width` x `height` inches, and its axes, row by row."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def save(figure: Figure) -> dict[str, bytes]:
    """Return the figure as {"svg": ..., "png": ...}; equal figures give equal bytes.

    The PNG has at most 256 colours and a third of the size, since findings are committed.
    """
    FigureCanvasAgg(figure)
    _disable_math_text(figure)
    svg, png, quantized = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNSHOWN)
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, dpi=110)
        figure.set_layout_engine(None)  # laid out once, for both
        figure.savefig(png, format="png", metadata={"Software": None}, dpi=110)
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(quantized, "PNG", optimize=True)
    return {"svg": run_tags.to_data_attributes(svg.getvalue()), "png": quantized.getvalue()}


def _disable_math_text(figure: Figure) -> None:
    """Draw all text literally, since names may contain anything; only the powers of ten at ticks are formulas."""
    powers: set[Artist] = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        labels = axis.get_ticklabels(which="both")  # creates them
        if isinstance(axis.get_major_formatter(), LogFormatter):
            powers.update([*labels, axis.get_offset_text()])
    for text in figure.findobj(Text):
        if text not in powers:
            assert isinstance(text, Text)
            text.set_parse_math(False)
            text.set_text("\n".join(map(printable, text.get_text().split("\n"))))


def arm_styles(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, marker and line style by arm, distinct for up to 56 arms; shortcuts look the same in every sweep."""
    names = list(dict.fromkeys(arms))
    numbers = FIXED if FIXED.keys() >= set(names) else {name: number for number, name in enumerate(names)}
    return {
        name: {
            "color": OKABE_ITO[numbers[name] % len(OKABE_ITO)],
            "marker": MARKERS[numbers[name] % len(MARKERS)],
            "linestyle": LINES[numbers[name] // len(OKABE_ITO) % len(LINES)],
        }
        for name in names
    }


def ordered_colours(values: Iterable[Any]) -> dict[Any, Any]:
    """Return colours from light to dark by distinct value (depth), in ascending order."""
    distinct = sorted(set(values))
    positions = np.linspace(0.78, 0.05, len(distinct)) if len(distinct) != 1 else [0.3]
    return dict(zip(distinct, map(mpl.colormaps["viridis"], positions), strict=True))


def shared_legend(figure: Figure) -> None:
    """Put one legend below all panels, with as many columns as its labels leave room for; lines of THEORY share an entry."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(truncate(label), handle)
    if any(line.get_label() == THEORY["label"] for ax in figure.axes for line in ax.get_lines()):
        handles["theory"] = Line2D([], [], **THEORY | {"color": "#555555"})
    if handles:
        with mpl.rc_context(STYLE):
            inches = 0.6 + 0.085 * max(len(label) for label in handles)
            columns = max(1, min(len(handles), int(figure.get_figwidth() / inches)))
            figure.set_figheight(figure.get_figheight() + 0.22 * math.ceil(len(handles) / columns))
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def panel_grids(names: Iterable[Any], x_label: str, y_label: str, **options: Any) -> Iterator[tuple[Figure, dict[Any, Axes]]]:
    """Yield figures of at most six panels, three a row, and their axes by name: one panel for each distinct name.

    The labels stand on the left and at the bottom. `options` go to `panels`.
    """
    for group in chunks(names, 6):
        columns = min(len(group), 3)
        figure, axes = panels(-(-len(group) // columns), columns, **options)
        for number, ax in enumerate(axes):
            ax.set_visible(number < len(group))
            if number % columns == 0:
                ax.set_ylabel(y_label)
            if number + columns >= len(group):
                ax.set_xlabel(x_label)
                ax.tick_params(labelbottom=True)
        yield figure, dict(zip(group, axes, strict=False))


def panel_rows(names: Iterable[Any], columns: int, x_label: str, y_label: str) -> Iterator[tuple[Figure, dict[Any, list[Axes]]]]:
    """Yield figures of at most four rows of panels, and the axes of each row by name: one row for each distinct name."""
    for group in chunks(names, 4):
        figure, axes = panels(len(group), columns, height=2.9, sharex=True, sharey="row")
        for ax in axes[::columns]:
            ax.set_ylabel(y_label)
        for ax in axes[-columns:]:
            ax.set_xlabel(x_label)
        yield figure, {name: axes[columns * row : columns * (row + 1)] for row, name in enumerate(group)}


def log_axis(ax: Axes, values: pd.Series) -> float:
    """Make the vertical axis logarithmic, and return the level at which exact zeros are drawn (NaN if there are none).

    A log axis has no zero, and leaving zeros out would hide underflow: they lie on a labelled line.
    """
    ax.set_yscale("log")
    positive = values[is_positive(values)]
    if len(positive) == np.isfinite(values).sum():
        return math.nan
    level = 10.0 ** (math.floor(math.log10(positive.min())) - 2) if len(positive) else 1e-45
    ax.set_ylim(bottom=level / 10, top=max(positive.max() * 10, level * 100) if len(positive) else 1.0)
    ax.axhline(level, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)))
    position: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "ha": "right"}
    ax.annotate("exactly zero (no nonzero element)", (0.99, level), (0, 3), fontsize=7, **position)
    return level


def is_positive(values: pd.Series) -> pd.Series:
    """Return which values are above zero and finite."""
    return values.between(0, math.inf, inclusive="neither")


def clip_for_log(values: pd.Series, level: float) -> pd.Series:
    """Return values for a log axis: zeros at `level`, infinite values as NaN."""
    return values.where(values != 0, level).where(np.isfinite(values))


def draw_line(ax: Axes, values: pd.Series, runs: pd.DataFrame, **look: Any) -> None:
    """Draw values against their index, tagged with the runs that they come from."""
    (line,) = ax.plot(values.index, values, **look)
    run_tags.tag(line, runs)


def dots(ax: Axes, frame: pd.DataFrame, y: pd.Series, style: Mapping[str, Any], number: int, arms: int) -> None:
    """Draw a dot at `x` and `y` for each run of the frame, with arm `number` (from 0) of `arms` beside the others.

    Dots are smaller if there are more than 100; values that are not finite are left out.
    """
    aside = ScaledTranslation((number - (arms - 1) / 2) * 3 / 72, 0, ax.figure.dpi_scale_trans)
    look = {"color": style["color"], "marker": style["marker"], "s": 16 if len(y) <= 100 else 4, "alpha": 0.55, "linewidths": 0}
    finite = np.isfinite(y)
    x, y = frame["x"][finite], y[finite]
    run_tags.tag_each(ax.scatter(x, y, transform=ax.transData + aside, **look), frame[finite])
    ax.update_datalim(np.column_stack([x, y]))  # dots with an offset do not do this by themselves
    ax.autoscale_view()


def short(key: str) -> str:
    """Return a key without its group: learning_rate for schedule.learning_rate."""
    return key.rpartition(".")[2]


def arm_title(arm: str) -> str:
    """Return an arm's name for a title: without its key, unless the value alone is a number."""
    value = arm.rpartition("=")[2]
    return truncate(arm if value.lstrip("-").replace(".", "").isdigit() else value)


def span(key: str, values: pd.Series, form: str) -> str:
    """Describe the change of a value from the first to the last value of a key: "at depth 20 → 110: 1.9 → 89.4".

    `values` is indexed by the key's values; `form` is the format of a value.
    """
    ends = values.iloc[[0, -1]] if len(values) > 1 else values.iloc[:1]
    return f"at {short(key)} {' → '.join(map(str, ends.index))}: {' → '.join(f'{value:{form}}' for value in ends)}"


def change_by_arm(frame: pd.DataFrame, column: str, statistic: str, form: str) -> list[str]:
    """Describe the change of a statistic over seeds from the smallest to the largest x, arm by arm: "none 12.0 → 90.0".

    Empty for more than two arms, or if an arm has only one x. `form` is the format of a value.
    """
    arms = {str(arm): group.groupby("x")[column].agg(statistic) for arm, group in frame.groupby("arm", sort=False)}
    if len(arms) > 2 or any(len(values) < 2 for values in arms.values()):
        return []
    return [f"{arm_title(arm)} {values.iloc[0]:{form}} → {values.iloc[-1]:{form}}" for arm, values in arms.items()]


def wrap(arm: str) -> str:
    """Return an arm's name in lines that fit over a panel."""
    return textwrap.fill(truncate(arm), 48)


def truncate(arm: str) -> str:
    """Return at most LONGEST characters of an arm's name."""
    return arm if len(arm) <= LONGEST else f"{arm[: LONGEST - 1]}…"


def chunks(values: Iterable[Any], size: int) -> list[list[Any]]:
    """Return the distinct values in their order, in lists of at most `size`."""
    distinct = list(dict.fromkeys(values))
    return [distinct[start : start + size] for start in range(0, len(distinct), size)]


def key_axis(ax: Axes, key: str, values: Iterable[Any]) -> None:
    """Label the horizontal axis with a key, ticks at its values; logarithmic if they span a factor of 20 or more."""
    ticks = sorted(set(values))
    if ticks[0] > 0 and ticks[-1] / ticks[0] >= 20:
        ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("depth (weighted layers)" if key == "depth" else key)
