"""A page as HTML and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.reporting import svg
from harness.reporting.document import Badge, Drawing, Fold, Link, Page, Part, Table, word

HERE = "harness.reporting"
SCRIPTS = ("page.js", "tables.js", "figures.js")
"""What every page does: light and dark, folds; tables that sort and filter; switches and downloads of figures."""


def render(page: Page) -> tuple[str, str]:
    """Return the page as (HTML, Markdown); text is escaped for each."""
    drawn = [part.svg for section in page.sections for part in _flat(section.parts) if isinstance(part, Drawing)]
    html = html_of(
        "report.html",
        page.title,
        drawn,
        page.scripts,
        page.language,
        page.package,
        sections=page.sections,
        embedded=page.embedded,
    )
    markdown = jinja2.Environment(loader=jinja2.PackageLoader(HERE), autoescape=False, trim_blocks=True, lstrip_blocks=True)
    markdown.filters["cell"] = _cell
    return html, markdown.get_template("report.md").render(title=page.title, sections=page.sections)


def html_of(
    template: str,
    title: str,
    drawn: Sequence[str] = (),
    scripts: Sequence[str] = (),
    language: str = "en",
    package: str = HERE,
    **contents: Any,
) -> str:
    """Return a template that extends base.html as one file of HTML; `drawn` are the SVGs in it, whose colours it defines.

    Templates and scripts are those of this package, and of `package`.
    """
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(HERE), jinja2.PackageLoader(package)])
    html = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html.filters["inline"] = lambda drawing, unique: Markup(svg.inlined(drawing, unique))
    html.tests |= {"badge": lambda value: isinstance(value, Badge), "link": lambda value: isinstance(value, Link)}
    html.globals["asset"] = lambda name: Markup(loader.get_source(html, name)[0])
    page = {"title": title, "language": language, "scripts": [*SCRIPTS, *scripts], "colours": Markup(svg.definitions(drawn))}
    return html.get_template(template).render(page | contents)


def _flat(parts: Sequence[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        if isinstance(part, Fold):
            yield from _flat(part.parts)


def frame(table: pd.DataFrame) -> Table:
    """Return a DataFrame as a table of text, numbers short enough to read."""
    rows = [[word(value) for value in row] for row in table.itertuples(index=False)]
    return Table([str(name) for name in table.columns], rows)


def _cell(text: str) -> str:
    """Return text as Markdown shows it word for word in one line, a table's cell: no markup, link or formula of its own."""
    for mark, instead in (("\\", "\\\\"), ("|", "\\|"), ("$", "\\$"), ("](", "]\\("), ("<", "&lt;")):
        text = text.replace(mark, instead)
    return " ".join(text.splitlines())
