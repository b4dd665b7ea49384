"""Draw a picture as a section of a report: SVGs with alt text and switches for the runs, and the table behind them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from experiments import registry
from harness import plots
from harness.analysis.tables import Tables
from harness.plots import Picture
from harness.plots.alt_text import describe
from harness.plots.run_tags import key, runs_in
from harness.plots.style import save, short
from harness.records import paths, reader, writer
from harness.records.reader import RecordError
from harness.reporting import embedded_tables
from harness.reporting.document import Drawing, Element, Section, Switches, Text, Widget

MAX_ARMS = 16
"""Maximum arms in a figure: a figure of hundreds is unreadable and takes minutes to draw."""
NOT_DRAWN = "This picture could not be drawn"
MAX_CHOICES = 24
"""Maximum switches of one kind."""
PLAYER = Markup('<figure class="heat" data-table="{}" data-x="{}" hidden></figure>')
"""Filled by templates/heat_map.js: gradient norms of every run by layer, at a step chosen by a slider."""


@dataclass(frozen=True)
class DrawnPicture:
    section: Section
    files: dict[str, bytes] = field(default_factory=dict)
    """Contents of the figure files by name."""
    embedded: dict[str, str] = field(default_factory=dict)
    """Tables to embed in the page, by name."""


def draw(tables: Tables, picture: Picture) -> DrawnPicture:
    """Draw a picture. The section is empty if the picture's table has no rows.

    If the figure function raises an exception, the section has its message, and the rest of the report is not affected.
    """
    x = picture.x if picture.x in tables.varying else tables.x
    frame = tables.along(x, picture.source.frame(tables))
    elements: list[Element] = []
    if frame.empty:
        return DrawnPicture(Section(picture.title, elements))
    arms = frame["arm"].unique()
    if len(arms) > MAX_ARMS:
        frame = frame[frame["arm"].isin(arms[:MAX_ARMS])]
        elements.append(Text(f"The first {MAX_ARMS} of {len(arms)} arms are drawn; the tables hold all."))
    table, embedded = _embed(picture, frame, x, tables.x)
    if picture.source.by_step:
        elements.append(Widget(PLAYER.format(table, short(x))))
    files: dict[str, bytes] = {}
    switches = list(_switches(frame, x))
    try:
        with np.errstate(all="ignore"):  # figures must cope with values out of range
            for number, figure in enumerate(picture.draw(frame, x), 1):
                file = picture.name if number == 1 else f"{picture.name}-{number}"
                alt_text = describe(figure)
                saved = save(figure)
                files |= {f"{file}.{suffix}": content for suffix, content in saved.items()}
                svg = saved["svg"].decode()
                elements.append(Drawing(file, picture.caption, svg, alt_text, _relevant(switches, runs_in(svg)), table))
    except Exception as error:  # a user's figure function may raise anything
        elements.append(Text(f"{NOT_DRAWN}: {type(error).__name__}: {error}"))
    return DrawnPicture(Section(picture.title, elements), files, embedded)


def _embed(picture: Picture, frame: pd.DataFrame, x: str, usual_x: str) -> tuple[str, dict[str, str]]:
    """Return the name of the table behind a picture and the packed table by name; empty if it is too long to embed.

    Pictures with the same source and x key share the table.
    """
    name = picture.source.name + ("" if x == usual_x else f"-by-{short(x)}")
    if picture.source.by_step:
        return name, {name: embedded_tables.pack(embedded_tables.thin_out(frame), digits=5)}
    if (shortened := embedded_tables.shorten(name, frame, picture.source.summary)) is None:
        return "", {}
    name, table = shortened
    return name, {name: embedded_tables.pack(table)}


def _switches(frame: pd.DataFrame, x: str) -> Iterator[Switches]:
    """Yield switches by arm, by value of `x` and by seed, each if it has several values."""
    runs = frame[["run", "arm", "x", "seed"]].drop_duplicates("run")
    for name, column in (("arm", "arm"), (short(x), "x"), ("seed", "seed")):
        groups = runs.groupby(column, sort=column != "arm")["run"]
        choices = [(str(value), [key(run) for run in names]) for value, names in groups]
        if 1 < len(choices) <= MAX_CHOICES:
            yield Switches(name, choices)


def _relevant(switches: Sequence[Switches], shown: set[str]) -> list[Switches]:
    """Return the switches of the runs in a figure; kinds with a single switch are left out."""
    relevant = [Switches(s.name, [choice for choice in s.choices if not shown.isdisjoint(choice[1])]) for s in switches]
    return [s for s in relevant if len(s.choices) > 1]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder while its report is written, so that all its files belong to one report. Other processes wait.

    On a file system without locks, the block runs unlocked.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(sweep: Path, files: Mapping[str, bytes]) -> None:
    """Write figures into a sweep's folder and remove stale ones. Files that no report wrote are kept.

    Stale are figures of the built-in pictures and those shown by the previous report, such as a plugin's.
    """
    folder = sweep / paths.FIGURES
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        writer.write_bytes(folder / name, content)
    pictures = [*plots.ALL, plots.BY_ARM, *(picture for experiment in registry().values() for picture in experiment.pictures)]
    names = {picture.name for picture in pictures}
    with suppress(RecordError):
        names.update(re.findall('<figure data-file="([^"]+)"', reader.read_text(sweep / paths.REPORT_HTML)))
    figure = rf"({'|'.join(map(re.escape, names))})(-\d+)?\.(svg|png)"
    for path in folder.iterdir():
        written_by_report = re.fullmatch(rf"{figure}|\.{figure}\.\w{{8}}", path.name)
        if written_by_report and path.name not in files and not path.is_dir():
            path.unlink(missing_ok=True)
