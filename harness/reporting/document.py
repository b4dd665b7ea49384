"""The contents of a report, independent of format.

A document consists of sections; a section has a title and elements. `harness.reporting.render` writes a document as Markdown and
as one self-contained HTML file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from harness.config.flat import as_text
from harness.records.value_types import printable


class Badge(str):
    """A word in a cell, coloured by its meaning: a verdict."""

    __slots__ = ()


class Link(str):
    """Text in a cell that links to the anchor `target` in the page."""

    target: str

    def __new__(cls, text: str, target: str) -> Link:
        link = super().__new__(cls, text)
        link.target = target
        return link


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Code:
    lines: str


@dataclass(frozen=True)
class Table:
    """Header and rows of text; a cell may be a Badge or a Link.

    `prose` wraps the cells. `tools` lets readers sort by any column and filter rows. If each row is a run, `runs` has their keys,
    and with `tools` each run can be switched off.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    tools: bool = False
    runs: Sequence[str] = ()
    name: str = ""


@dataclass(frozen=True)
class Tally:
    """The number of occurrences of each badge."""

    counts: Sequence[tuple[Badge, int]]


@dataclass(frozen=True)
class Switches:
    """Checkboxes of a figure under one name. Each has a label and the runs that it shows or hides."""

    name: str
    choices: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Drawing:
    """A figure: file name without suffix, caption, SVG, alt text and switches.

    `data` names the table behind it among those embedded in the page.
    """

    file: str
    caption: str
    svg: str
    alt_text: str = ""
    switches: Sequence[Switches] = ()
    data: str = ""


@dataclass(frozen=True)
class Widget:
    """HTML driven by a script. Markdown shows `text` instead, if any."""

    html: Markup
    text: str = ""


@dataclass(frozen=True)
class Fold:
    """Elements under a title that the reader can fold away. A badge and a sentence may follow the title; `anchor` is its id."""

    title: str
    elements: Sequence[Element]
    badge: Badge | None = None
    sentence: str = ""
    anchor: str = ""


Element = Heading | Text | Code | Table | Tally | Drawing | Widget | Fold


@dataclass(frozen=True)
class Section:
    title: str
    elements: Sequence[Element]


@dataclass(frozen=True)
class Document:
    """Sections with a title. All other fields are for the HTML page.

    `scripts` are added from templates/ of `package`. `embedded` has tables by name (`harness.reporting.embedded_tables`).
    """

    title: str
    sections: Sequence[Section]
    language: str = "en"
    scripts: Sequence[str] = ()
    package: str = "harness.reporting"
    embedded: Mapping[str, str] = field(default_factory=dict)


def facts(pairs: Mapping[str, Any]) -> Table:
    """Return a table of two columns, name and value."""
    return Table(["", ""], [[name, format_value(value)] for name, value in pairs.items()], name="facts")


def format_value(value: Any) -> str:
    """Return a value for readers: four significant digits for a fraction, the empty string for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else f"{value:.4g}"
    return as_text(value)


def plain_table(table: Table) -> str:
    """Return a table as aligned text for a terminal."""
    lines = [[printable(cell) for cell in line] for line in (table.header, *table.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
