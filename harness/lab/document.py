"""What the lab has to say, in no language: names of texts, and the numbers that stand in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

Value = str | int | float


@dataclass(frozen=True)
class Said:
    """A text by its key, with the values of its placeholders; a value may be a text itself."""

    key: str
    values: Mapping[str, Value | Said] = field(default_factory=dict)


Words = Said | Value
"""A text, or what is the same in every language: symbols, names of keys, numbers."""
Rows = list[Sequence[Words]]


@dataclass(frozen=True)
class Subheading:
    words: Said


@dataclass(frozen=True)
class Grid:
    """A table, its words not yet said in a language."""

    header: Sequence[Words]
    rows: Sequence[Sequence[Words]]


@dataclass(frozen=True)
class Chart:
    """A figure: the name of its files, what it shows, and how it is drawn; its labels are the field's symbols and names."""

    name: str
    caption: Said
    figure: Figure


@dataclass(frozen=True)
class Sliders:
    """The scalar block with its weights on sliders."""


Part = Said | Subheading | Grid | Chart | Sliders


@dataclass(frozen=True)
class Chapter:
    """A section of the page; its title is the text KEY.title."""

    key: str
    parts: Sequence[Part]


def said(key: str, **values: Value | Said) -> Said:
    return Said(key, values)
