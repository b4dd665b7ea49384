"""A picture of a sweep as a section of its report: drawn, described, with switches for its runs and the table behind it.

And how the files of all pictures come into a sweep's folder.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
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
from harness.plots.alt_text import described
from harness.plots.run_tags import key, runs_in
from harness.plots.style import save, short
from harness.records import writer
from harness.reporting import document, embedded_tables
from harness.reporting.document import Drawing, Section, Switches, Text, Widget

ARMS = 16
"""Arms of a comparison that are drawn at most: figures of hundreds would be read by nobody, and take minutes."""
NOT_DRAWN = "This picture could not be drawn"
CHOICES = 24
"""Switches of one kind at most."""
PLAYER = Markup('<figure class="heat" data-table="{}" data-x="{}" hidden></figure>')
"""What templates/heat_map.js fills: gradient norms of every run by layer, at a step that a slider chooses."""


@dataclass(frozen=True)
class Drawn:
    """The section of a picture, its files by name, and the tables that its page embeds, by name."""

    section: Section
    files: dict[str, bytes] = field(default_factory=dict)
    embedded: dict[str, str] = field(default_factory=dict)


def drawn(tables: Tables, picture: Picture) -> Drawn:
    """Draw a picture; the section has no parts where its table has no rows.

    What a figure function raises costs the report that picture alone: the section says what it was.
    """
    x = picture.x if picture.x in tables.varying else tables.x
    frame = tables.along(x, getattr(tables, picture.table))
    parts: list[document.Part] = []
    if frame.empty:
        return Drawn(Section(picture.title, parts))
    arms = frame["arm"].unique()
    if len(arms) > ARMS:
        frame = frame[frame["arm"].isin(arms[:ARMS])]
        parts.append(Text(f"The first {ARMS} of {len(arms)} arms are drawn; the tables hold all."))
    files: dict[str, bytes] = {}
    name, packed = _behind(picture, frame, x, tables.x)
    if picture.table == "heat_maps":
        parts.append(Widget(PLAYER.format(name, short(x))))
    groups = list(_switches(frame, x))
    try:
        with np.errstate(all="ignore"):  # a figure of numbers beyond all bounds is no news
            for number, figure in enumerate(picture.draw(frame, x)):
                file = document.unique_name(picture.name, number)
                words = described(figure)
                saved = save(figure)
                files |= {f"{file}.{kind}": content for kind, content in saved.items()}
                svg = saved["svg"].decode()
                parts.append(Drawing(file, picture.caption, svg, words, _of(groups, runs_in(svg)), name))
    except Exception as error:  # whatever a figure function of one's own raises
        parts.append(Text(f"{NOT_DRAWN}: {type(error).__name__}: {error}"))
    return Drawn(Section(picture.title, parts), files, packed)


def _behind(picture: Picture, frame: pd.DataFrame, x: str, usual: str) -> tuple[str, dict[str, str]]:
    """Return the name of the table behind a picture, and it under this name; pictures that share a table share the name."""
    name = picture.table.replace("_", "-") + ("" if x == usual else f"-by-{short(x)}")
    if picture.table == "heat_maps":
        return name, {name: embedded_tables.packed(embedded_tables.steps_of(frame), digits=5)}
    found = embedded_tables.behind(name, frame)
    return (found[0], {found[0]: embedded_tables.packed(found[1])}) if found else ("", {})


def _switches(frame: pd.DataFrame, x: str) -> Iterator[Switches]:
    """Yield what runs can be switched off by: arm, value of `x`, seed, each where there are several."""
    runs = frame[["run", "arm", "x", "seed"]].drop_duplicates("run")
    for name, column in (("arm", "arm"), (short(x), "x"), ("seed", "seed")):
        choices = [
            (str(value), [key(run) for run in group["run"]]) for value, group in runs.groupby(column, sort=column != "arm")
        ]
        if 1 < len(choices) <= CHOICES:
            yield Switches(name, choices)


def _of(groups: list[Switches], shown: set[str]) -> list[Switches]:
    """Return the switches that have runs in a figure; none of a kind that would be the only one."""
    found = [Switches(one.name, [choice for choice in one.choices if not shown.isdisjoint(choice[1])]) for one in groups]
    return [one for one in found if len(one.choices) > 1]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time write a folder's report, so that its files are all of one report; others wait.

    Where the file system knows no locks, the block runs without one.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write figures into their folder, and remove those of an earlier report; what no report writes is left alone."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        writer.write_bytes(folder / name, content)
    pictures = [*plots.ALL, plots.BY_ARM, *(picture for one in registry().values() for picture in one.pictures)]
    names = "|".join(re.escape(name) for name in sorted({picture.name for picture in pictures}))
    for old in folder.iterdir():
        ours = re.fullmatch(rf"({names})(-\d+)?\.(svg|png)|\.({names})(-\d+)?\.(svg|png)\.\w{{8}}", old.name)
        if ours and old.name not in files and not old.is_dir():
            old.unlink(missing_ok=True)
