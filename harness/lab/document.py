"""The contents of the lab's page in no language: elements of a report whose texts are messages, translated by `page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from harness.plots.style import save
from harness.reporting.document import Drawing, Heading, Table

Value = str | int | float


class Message(str):
    """A key of texts/, with the values of the text's placeholders; a value may itself be a message."""

    values: Mapping[str, Value]

    def __new__(cls, key: str, /, **values: Value) -> Message:
        message = super().__new__(cls, key)
        message.values = values
        return message


@dataclass(frozen=True)
class Sliders:
    """The block of numbers with its weights on sliders."""


Element = Message | Heading | Table | Drawing | Sliders
"""A message by itself is a paragraph. Other strings are symbols, names of keys and numbers, which need no translation."""
Chapters = Mapping[str, Sequence[Element]]
"""The sections of the page by key, in order; a section's title is the message KEY.title."""


def chart(name: str, caption: str, figure: Figure) -> Drawing:
    """Return a figure under the name of its file; `caption` is the key of a message."""
    return Drawing(name, Message(caption), save(figure)["svg"].decode())


def columns(*names: str) -> list[str]:
    """Return the messages col.NAME, headings of a table's columns."""
    return [Message(f"col.{name}") for name in names]
