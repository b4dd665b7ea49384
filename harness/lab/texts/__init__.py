"""The lab's words in each language, and how contents are said in one of them.

en.yaml and zh-TW.yaml have the same keys and placeholders (a test says so); every number comes from the contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import cast

from omegaconf import OmegaConf

from harness.lab.document import Said, Words
from harness.reporting.document import word

LANGUAGES: Mapping[str, str] = {"en": "index.html", "zh-TW": "index.zh-TW.html"}
"""The languages, and the file of each one's page."""


@cache
def table(language: str) -> Mapping[str, str]:
    """Return the texts of a language by key."""
    text = (resources.files(__name__) / f"{language}.yaml").read_text(encoding="utf-8")
    return cast(Mapping[str, str], OmegaConf.to_container(OmegaConf.create(text)))


def say(words: Words, language: str) -> str:
    """Return words in a language; raises KeyError for a text or a placeholder that is not there."""
    if not isinstance(words, Said):
        return word(words)
    return table(language)[words.key].format(**{name: say(value, language) for name, value in words.values.items()})
