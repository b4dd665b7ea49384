"""Translate the lab's messages: LANGUAGE.yaml has the texts by key.

All files have the same keys and placeholders (tested); every number is a placeholder's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import cast

from omegaconf import OmegaConf

from harness.lab.document import Message, Value
from harness.reporting.document import format_value

LANGUAGES: Mapping[str, str] = {"en": "index.html", "zh-TW": "index.zh-TW.html"}
"""The file name of the page in each language."""


@cache
def load(language: str) -> Mapping[str, str]:
    """Return the texts of a language by key."""
    content = (resources.files(__name__) / f"{language}.yaml").read_text(encoding="utf-8")
    return cast(Mapping[str, str], OmegaConf.to_container(OmegaConf.create(content)))


def translate(value: Value, language: str) -> str:
    """Return the text of a message or value in a language; raises KeyError for an unknown key or a missing placeholder value."""
    if not isinstance(value, Message):
        return format_value(value)
    return load(language)[value].format(**{name: translate(inner, language) for name, inner in value.values.items()})
