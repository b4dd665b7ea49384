"""A report's contents, and how they become HTML and Markdown.

A page is a list of sections, a section a heading and parts in order: a smaller heading, text, code, a table, a figure. Both
templates render the same list, so the two reports cannot say different things.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup


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
    """Header and rows, as text; cells of `prose` are wrapped."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Drawing:
    """A figure: the name of its files without ending, what it shows, and its SVG."""

    file: str
    caption: str
    svg: str
    kind: str = "drawing"


Part = Heading | Text | Code | Table | Drawing


@dataclass(frozen=True)
class Section:
    title: str
    parts: Sequence[Part]


def render(title: str, sections: Sequence[Section]) -> tuple[str, str]:
    """Return the page as (HTML, Markdown); text is escaped for each."""
    loader = jinja2.PackageLoader("harness", "templates")
    html = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html.filters["inline"] = lambda svg, unique: Markup(_inlined(svg, unique))
    markdown = jinja2.Environment(loader=loader, autoescape=False, trim_blocks=True, lstrip_blocks=True)
    markdown.filters["cell"] = _cell
    page = {"title": title, "sections": sections}
    return html.get_template("report.html").render(page), markdown.get_template("report.md").render(page)


def frame(table: pd.DataFrame) -> Table:
    """Return a DataFrame as a table of text, numbers short enough to read."""
    rows = [[word(value) for value in row] for row in table.itertuples(index=False)]
    return Table([str(name) for name in table.columns], rows)


def facts(pairs: Mapping[str, Any]) -> Table:
    """Return named facts as a table of two columns."""
    return Table(["", ""], [[name, word(value)] for name, value in pairs.items()])


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
    lines = [list(table.header), *[list(row) for row in table.rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def unique_name(name: str, number: int) -> str:
    """Return the name of the `number`-th figure (from 0) of a picture."""
    return name if number == 0 else f"{name}-{number + 1}"


def _inlined(svg: str, unique: str) -> str:
    """Return an SVG fit to stand inside HTML: no prologue, its ids made unique on the page."""
    return re.sub(r'( id="|"#|url\(#)', rf"\g<1>{unique}-", svg[svg.index("<svg") :])


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
