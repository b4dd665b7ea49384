"""Render the lab's contents in one language as a page of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

from markupsafe import Markup

from harness.lab import scalar_block
from harness.lab.document import Chapters, Element, Message, Sliders
from harness.lab.residual_block import BACKWARD, EPSILON, FORMULAS, FORWARD
from harness.lab.texts import LANGUAGES, translate
from harness.reporting import render
from harness.reporting.document import Document, Drawing, Heading, Section, Table, Text, Widget
from harness.reporting.document import Element as Translated


def html(chapters: Chapters, language: str, others: Sequence[str]) -> str:
    """Return the page; `others` are the languages that it links to."""
    sections = [
        Section(_text(f"{key}.title", language), [_translated(element, language) for element in elements])
        for key, elements in chapters.items()
    ]
    if others:
        sections[0] = replace(sections[0], elements=[_links(others), *sections[0].elements])
    return render.render(Document(_text("page.title", language), sections, language, scripts=["lab.js"], package=__package__))[0]


def _translated(element: Element, language: str) -> Translated:
    match element:
        case Message():
            return Text(translate(element, language))
        case Heading():
            return Heading(translate(element.text, language))
        case Table():
            header, *rows = ([translate(cell, language) for cell in row] for row in (element.header, *element.rows))
            return Table(header, rows)
        case Drawing():
            return replace(element, caption=translate(element.caption, language))
        case Sliders():
            return _sliders(language)


def _sliders(language: str) -> Widget:
    block = {"weights": scalar_block.WEIGHTS, "running": scalar_block.RUNNING, "epsilon": EPSILON}
    widget = render.render_template(
        "lab_sliders.html",
        _text("sliders.title", language),
        package=__package__,
        initial=block | {"cases": [asdict(case) for case in scalar_block.CASES]},
        symbols=scalar_block.SYMBOLS | {name: symbol for name, (symbol, _) in FORMULAS.items()},
        quantities={"values": FORWARD, "gradients": BACKWARD},
        text=partial(_text, language=language),
    )
    return Widget(Markup(widget))


def _links(others: Sequence[str]) -> Widget:
    link = Markup('<a href="{}" lang="{}" hreflang="{}">{}</a>')
    links = (link.format(LANGUAGES[other], other, other, _text("page.language", other)) for other in others)
    return Widget(Markup("<p>{}</p>").format(Markup(" ").join(links)))


def _text(key: str, language: str) -> str:
    return translate(Message(key), language)
