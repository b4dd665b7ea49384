"""Render the lab's contents in one language as a page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from harness.lab import scalar_block
from harness.lab.document import Chapters, Chart, Element, Message, Row, Subheading, Table, message
from harness.lab.residual_block import BACKWARD, FORMULAS, FORWARD
from harness.lab.texts import LANGUAGES, translate
from harness.lab.worked_examples import scalar_symbol
from harness.reporting import document, render


def html(chapters: Chapters, svgs: Mapping[str, str], language: str, others: Sequence[str]) -> str:
    """Return the page; `svgs` are its charts by name, `others` the languages that it links to."""
    sections = [
        document.Section(_text(f"{key}.title", language), [_translated(element, svgs, language) for element in elements])
        for key, elements in chapters.items()
    ]
    if others:
        sections[0] = document.Section(sections[0].title, [_links(others), *sections[0].elements])
    page = document.Document(_text("page.title", language), sections, language, scripts=["lab.js"], package=__package__)
    return render.render(page)[0]


def _translated(element: Element, svgs: Mapping[str, str], language: str) -> document.Element:
    if isinstance(element, Message):
        return document.Text(translate(element, language))
    if isinstance(element, Subheading):
        return document.Heading(translate(element.title, language))
    if isinstance(element, Table):
        return document.Table(_row(element.header, language), [_row(row, language) for row in element.rows])
    if isinstance(element, Chart):
        return document.Drawing(element.name, translate(element.caption, language), svgs[element.name])
    return _sliders(language)


def _row(cells: Row, language: str) -> list[str]:
    return [translate(cell, language) for cell in cells]


def _sliders(language: str) -> document.Widget:
    widget = render.render_template(
        "lab_sliders.html",
        _text("sliders.title", language),
        package=__package__,
        initial=scalar_block.for_sliders(),
        names={name: scalar_symbol(name) for name in scalar_block.WEIGHTS},
        cases={case.name: _text(f"numbers.{case.name}", language) for case in scalar_block.CASES},
        columns=[[(name, FORMULAS[name][0]) for name in names] for names in (FORWARD, BACKWARD)],
        words={key: _text(f"sliders.{key}", language) for key in ("case", "reset", "values", "gradients")},
    )
    return document.Widget(Markup(widget))


def _links(others: Sequence[str]) -> document.Widget:
    link = Markup('<a href="{}" lang="{}" hreflang="{}">{}</a>')
    links = (link.format(LANGUAGES[other], other, other, _text("page.language", other)) for other in others)
    return document.Widget(Markup("<p>{}</p>").format(Markup(" ").join(links)))


def _text(key: str, language: str) -> str:
    return translate(message(key), language)
