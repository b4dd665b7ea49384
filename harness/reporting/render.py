"""Render a document as HTML and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.reporting import svg
from harness.reporting.document import Badge, Document, Drawing, Element, Fold, Link, Table, format_value

PACKAGE = "harness.reporting"
SCRIPTS = ("page.js", "tables.js", "figures.js")
"""Scripts of every page: colour scheme and folds; sorting and filtering of tables; switches and downloads of figures."""


def render(document: Document) -> tuple[str, str]:
    """Return the document as (HTML, Markdown); text is escaped for each."""
    html = render_template(
        "report.html",
        document.title,
        svgs=[drawing.svg for section in document.sections for drawing in _drawings(section.elements)],
        scripts=document.scripts,
        language=document.language,
        package=document.package,
        sections=document.sections,
        embedded=document.embedded,
    )
    markdown = _environment(PACKAGE).get_template("report.md")
    return html, markdown.render(title=document.title, sections=document.sections)


def render_template(
    template: str,
    title: str,
    svgs: Sequence[str] = (),
    scripts: Sequence[str] = (),
    language: str = "en",
    package: str = PACKAGE,
    **variables: Any,
) -> str:
    """Return a template that extends base.html as one file of HTML. The page defines the colours of `svgs`.

    Templates and scripts are looked up in templates/ of this package, then of `package`.
    """
    page = {"title": title, "language": language, "scripts": [*SCRIPTS, *scripts], "colours": Markup(svg.definitions(svgs))}
    return _environment(package).get_template(template).render(page | variables)


def _environment(package: str) -> jinja2.Environment:
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(PACKAGE), jinja2.PackageLoader(package)])
    autoescape = jinja2.select_autoescape()  # in .html
    environment = jinja2.Environment(loader=loader, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True)
    environment.filters["kind"] = lambda element: type(element).__name__.lower()
    environment.filters["cell"] = _cell
    environment.filters["inline"] = lambda drawing, prefix: Markup(svg.inline(drawing, prefix))
    environment.tests |= {"badge": lambda value: isinstance(value, Badge), "link": lambda value: isinstance(value, Link)}
    environment.globals["asset"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment


def _drawings(elements: Sequence[Element]) -> Iterator[Drawing]:
    for element in elements:
        if isinstance(element, Drawing):
            yield element
        elif isinstance(element, Fold):
            yield from _drawings(element.elements)


def frame(table: pd.DataFrame) -> Table:
    """Return a DataFrame as a table of text, numbers short enough to read."""
    rows = [[format_value(value) for value in row] for row in table.itertuples(index=False)]
    return Table([str(name) for name in table.columns], rows)


def _cell(text: str) -> str:
    """Escape text so that Markdown shows it literally, on one line, also in a table's cell."""
    escaped = re.sub(r"[\\|$]|(?<=])\(", r"\\\g<0>", text).replace("<", "&lt;")
    return " ".join(escaped.splitlines())
