"""The contents of the lab's page in no language: messages by key, with the numbers that fill them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

Value = str | int | float


@dataclass(frozen=True)
class Message:
    """A text by its key in texts/, with the values of its placeholders; a value may itself be a message."""

    key: str
    values: Mapping[str, Value | Message] = field(default_factory=dict)


Cell = Message | Value
"""A message, or what every language writes alike: symbols, names of keys, numbers."""
Row = Sequence[Cell]


@dataclass(frozen=True)
class Subheading:
    title: Message


@dataclass(frozen=True)
class Table:
    header: Row
    rows: Sequence[Row]


@dataclass(frozen=True)
class Chart:
    """A figure under the name of its file; its labels are symbols and names of keys, which need no translation."""

    name: str
    caption: Message
    figure: Figure


@dataclass(frozen=True)
class Sliders:
    """The block of numbers with its weights on sliders."""


Element = Message | Subheading | Table | Chart | Sliders
"""A message by itself is a paragraph."""
Chapters = Mapping[str, Sequence[Element]]
"""The sections of the page by key, in order; a section's title is the message KEY.title."""


def message(key: str, **values: Value | Message) -> Message:
    return Message(key, values)


def columns(*names: str) -> list[Cell]:
    """Return the headings col.NAME of a table's columns."""
    return [message(f"col.{name}") for name in names]
