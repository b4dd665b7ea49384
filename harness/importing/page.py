"""Write the page about foreign runs: a figure for each metric, and the table of all aggregated values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.config.registry import ChoiceError
from harness.importing.aggregate import Curve
from harness.importing.foreign import ForeignRun
from harness.plots import style
from harness.plots.alt_text import describe
from harness.records import paths, writer
from harness.reporting import render
from harness.reporting.document import Document, Drawing, Element, Section, Table, Text, format_value

TABLE = "aggregated.csv"
MOST_METRICS = 24
"""The most metrics that are drawn."""
CAPTION = "Mean over seeds; the band is its two-sided 95 % t interval, which needs two seeds."
ABOUT = (
    "A point is the mean over the seeds of a group, at a step that all of them have. Intervals are two-sided 95 % t intervals. "
    f"{TABLE} has all values."
)


def write(
    out: Path,
    title: str,
    groups: Mapping[str, Sequence[ForeignRun]],
    seed: str,
    metrics: Mapping[str, Sequence[Curve]],
    troubles: Mapping[str, str],
) -> None:
    """Write the page of the groups' runs and their `metrics` into the folder `out`, which an earlier import may have written.

    Raises ChoiceError if the folder has other content.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / TABLE).is_file())):
        raise ChoiceError(f"--out {out}: exists, and is no folder of an import")
    figures: dict[str, bytes] = {}
    sections = [_runs(groups, seed, troubles)]
    for number, (metric, curves) in enumerate(list(metrics.items())[:MOST_METRICS], 1):
        sections.append(Section(metric, list(_elements(f"{number}-{_slug(metric)}", metric, curves, figures))))
    if len(metrics) > MOST_METRICS:
        left = ", ".join(list(metrics)[MOST_METRICS:])
        sections.append(Section("Other metrics", [Text(f"Not drawn; choose them with --metric: {left}.")]))
    html, markdown = render.render(Document(title, sections))
    (out / paths.FIGURES).mkdir(parents=True, exist_ok=True)
    for path in (out / paths.FIGURES).iterdir():
        if path.name not in figures and re.fullmatch(r"\d+-[\w-]*\.(svg|png)", path.name):
            path.unlink()
    for name, content in figures.items():
        writer.write_bytes(out / paths.FIGURES / name, content)
    writer.write_table(out / TABLE, pd.concat([curve.table for curves in metrics.values() for curve in curves]))
    writer.write_text(out / paths.REPORT_MARKDOWN, markdown)
    writer.write_text(out / paths.REPORT_HTML, html)


def _runs(groups: Mapping[str, Sequence[ForeignRun]], seed: str, troubles: Mapping[str, str]) -> Section:
    rows = [[run.name, name, format_value(run.choices.get(seed)), run.format] for name, runs in groups.items() for run in runs]
    elements: list[Element] = [Text(ABOUT), Table(["run", "group", seed, "format"], rows, tools=True, name="runs")]
    if not any(seed in run.choices for runs in groups.values() for run in runs):
        elements.append(Text(f"No run has a key {seed}: each run counts as a seed."))
    for name, runs in groups.items():
        counts = Counter(str(run.choices[seed]) for run in runs if seed in run.choices)
        for value, count in counts.items():
            if count > 1:
                elements.append(Text(f"{name}: {count} runs have {seed}={value}, and count as {count} seeds."))
    return Section("Runs", elements + [Text(f"{name} is left out: {reason}") for name, reason in troubles.items()])


def _elements(file: str, metric: str, curves: Sequence[Curve], figures: dict[str, bytes]) -> Iterator[Element]:
    """Yield a metric's figures, whose files are added to `figures`, its values at the end, and what was left out."""
    for number, figure in enumerate(draw(metric, curves), 1):
        name = file if number == 1 else f"{file}-{number}"
        alt_text, saved = describe(figure), style.save(figure)
        figures.update({f"{name}.{suffix}": content for suffix, content in saved.items()})
        yield Drawing(name, CAPTION, saved["svg"].decode(), alt_text)
    ends = [curve.table.tail(1) for curve in curves if len(curve.table)]
    if ends:
        yield render.frame(pd.concat(ends).drop(columns="metric"))
    for curve in curves:
        if remarks := "; ".join(_remarks(curve)):
            yield Text(f"{curve.group}: {remarks}.")


def _remarks(curve: Curve) -> Iterator[str]:
    if curve.lacking:
        yield f"runs without this metric: {curve.lacking} of {curve.runs + curve.lacking}"
    if curve.partial:
        yield f"steps left out because not every run has a value there: {curve.partial}"
    if curve.infinite:
        yield f"steps left out because the value of a run is NaN or infinite there: {curve.infinite}"
    if curve.runs and not len(curve.table):
        yield "no step is left"


def draw(metric: str, curves: Sequence[Curve]) -> Iterator[Figure]:
    """Yield the figures of a metric: a line for each group, with the interval as a band."""
    shown = {curve.group: curve.table for curve in curves if len(curve.table)}
    styles = style.arm_styles(shown)
    for names in style.chunks(shown, style.ARMS):
        figure, (ax,) = style.panels(1, 1, width=6.4, height=3.8)
        for name in names:
            table, look = shown[name], styles[name] | {"marker": styles[name]["marker"] if len(shown[name]) == 1 else ""}
            ax.plot(table["step"], table["mean"], **look, linewidth=1.6, markersize=5, label=name)
            ax.fill_between(table["step"], table["low"], table["high"], color=look["color"], alpha=0.18, linewidth=0)
        ax.set(xlabel="step", ylabel=style.truncate(metric))
        style.shared_legend(figure)
        yield figure


def _slug(metric: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", metric)[:60].strip("-")
