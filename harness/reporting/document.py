"""A report's contents, and how they become HTML and Markdown.

A page is a list of sections, a section a heading and parts in order: a smaller heading, text, code, a table, a figure, a fold
that holds parts of its own. Both templates render the same list, so the two reports cannot say different things. The HTML is
one file that asks for nothing from anywhere: style, scripts, figures and the data behind them stand in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from harness.records.value_types import printable


class Badge(str):
    """A word that stands out in a cell, coloured by what it says: a verdict."""

    __slots__ = ()


class Link(str):
    """Words of a cell that lead to the place `target` of the page."""

    target: str

    def __new__(cls, words: str, target: str) -> Link:
        made = super().__new__(cls, words)
        made.target = target
        return made


@dataclass(frozen=True)
class Text:
    words: str
    kind: str = "text"


@dataclass(frozen=True)
class Heading:
    words: str
    kind: str = "heading"


@dataclass(frozen=True)
class Code:
    lines: str
    kind: str = "code"


@dataclass(frozen=True)
class Table:
    """Header and rows, as text (a cell may be a Badge or a Link); cells of `prose` are wrapped.

    With `tools` the page sorts it by any column and filters its rows. `runs` has the run of each row, if rows are runs: with
    tools each of them can be switched off there.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    tools: bool = False
    runs: Sequence[str] = ()
    name: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Tally:
    """How often each of some words was said."""

    counts: Sequence[tuple[Badge, int]]
    kind: str = "tally"


@dataclass(frozen=True)
class Switches:
    """What can be switched off in a figure under one name: words, and the runs that they stand for."""

    name: str
    choices: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Drawing:
    """A figure: the name of its files without ending, what it shows, its SVG, what is seen in it, and its switches.

    `data` names the table behind it among those that are embedded in the page.
    """

    file: str
    caption: str
    svg: str
    alternative: str = ""
    switches: Sequence[Switches] = ()
    data: str = ""
    kind: str = "drawing"


@dataclass(frozen=True)
class Widget:
    """HTML of its own, that a script brings to life; Markdown has the words instead, if any."""

    html: Markup
    words: str = ""
    kind: str = "widget"


@dataclass(frozen=True)
class Fold:
    """Parts under a small heading, that the page folds: a name, a badge, a sentence; `anchor` is what links to it name."""

    words: str
    parts: Sequence[Part]
    badge: Badge | None = None
    sentence: str = ""
    anchor: str = ""
    kind: str = "fold"


Part = Heading | Text | Code | Table | Tally | Drawing | Widget | Fold


@dataclass(frozen=True)
class Section:
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """What a page says, its language, the scripts of its own, the package whose
    templates/ has them, and the tables embedded in it (`harness.reporting.embedded_tables`) by name."""

    title: str
    sections: Sequence[Section]
    language: str = "en"
    scripts: Sequence[str] = ()
    package: str = "harness.reporting"
    embedded: Mapping[str, str] = field(default_factory=dict)


def facts(pairs: Mapping[str, Any]) -> Table:
    """Return named facts as a table of two columns."""
    return Table(["", ""], [[name, word(value)] for name, value in pairs.items()], name="facts")


def word(value: Any) -> str:
    """Return a value as people read it: four significant digits of what is no whole number, nothing for what is missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "" if value is None or math.isnan(value) else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return str(int(value)) if isinstance(value, float) else str(value)


def plain_table(table: Table) -> str:
    """Return a table as aligned text for a terminal."""
    lines = [[printable(cell) for cell in line] for line in (table.header, *table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def unique_name(name: str, number: int) -> str:
    """Return the name of the `number`-th figure (from 0) of a picture."""
    return name if number == 0 else f"{name}-{number + 1}"
