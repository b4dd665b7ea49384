"""The lab's contents in one language become a page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from harness.lab import scalar_block
from harness.lab.document import Chapter, Chart, Grid, Part, Said, Sliders, Subheading, said
from harness.lab.texts import LANGUAGES, say
from harness.lab.worked_examples import scalar_symbol
from harness.reporting import document, render
from harness.reporting.document import Drawing, Heading, Page, Section, Table, Text, Widget


def html_of(chapters: Sequence[Chapter], drawn: Mapping[str, str], language: str, others: Sequence[str]) -> str:
    """Return the page; `drawn` are the SVGs of its charts by name, `others` the languages that it links to."""
    sections = [Section(_say(f"{chapter.key}.title", language), _parts(chapter, drawn, language)) for chapter in chapters]
    if others:
        sections[0] = Section(sections[0].title, [_links(others), *sections[0].parts])
    return render.render(Page(_say("page.title", language), sections, language, scripts=["lab.js"], package=__package__))[0]


def _parts(chapter: Chapter, drawn: Mapping[str, str], language: str) -> list[document.Part]:
    return [_part(part, drawn, language) for part in chapter.parts]


def _part(part: Part, drawn: Mapping[str, str], language: str) -> document.Part:
    if isinstance(part, Said):
        return Text(say(part, language))
    if isinstance(part, Subheading):
        return Heading(say(part.words, language))
    if isinstance(part, Grid):
        rows = [[say(cell, language) for cell in row] for row in part.rows]
        return Table([say(name, language) for name in part.header], rows)
    if isinstance(part, Chart):
        return Drawing(part.name, say(part.caption, language), drawn[part.name])
    return _sliders(part, language)


def _sliders(part: Sliders, language: str) -> Widget:
    symbols = {name: symbol for name, (symbol, _) in scalar_block.FORMULAS.items()}
    html = render.html_of(
        "lab_sliders.html",
        _say("sliders.title", language),
        package=__package__,
        given=scalar_block.for_sliders() | {"epsilon": scalar_block.EPSILON},
        names={name: scalar_symbol(name) for name in scalar_block.for_sliders()["weights"]},
        cases={case.name: _say(f"numbers.{case.name}", language) for case in scalar_block.CASES},
        columns=[[(name, symbols[name]) for name in names] for names in (scalar_block.FORWARD, scalar_block.BACKWARD)],
        words={key: _say(f"sliders.{key}", language) for key in ("case", "reset", "values", "gradients")},
    )
    return Widget(Markup(html))


def _links(others: Sequence[str]) -> Widget:
    link = Markup('<a href="{}" lang="{}" hreflang="{}">{}</a>')
    made = Markup(" ").join(link.format(LANGUAGES[other], other, other, _say("page.language", other)) for other in others)
    return Widget(Markup("<p>{}</p>").format(made))


def _say(key: str, language: str) -> str:
    return say(said(key), language)
