"""The lab's texts: both languages have the same keys and placeholders."""

import re
import string

import pytest

from harness.lab.document import Message
from harness.lab.texts import LANGUAGES, load, translate


def placeholders(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_both_languages_have_the_same_keys_and_placeholders():
    english, chinese = (load(language) for language in LANGUAGES)
    assert list(english) == list(chinese)
    for key in english:
        assert placeholders(english[key]) == placeholders(chinese[key]), key


def test_chinese_is_chinese_and_english_has_none_of_it():
    """Except for names and symbols, every text as long as a sentence has Chinese characters, none of them simplified."""
    english, chinese = (load(language) for language in LANGUAGES)
    assert not any(re.search("[\u4e00-\u9fff]", text) for text in english.values())
    for key, text in chinese.items():
        assert len(text) < 24 or re.search("[\u4e00-\u9fff]", text), key
        assert not re.search("[络习训练归层块径权误网们这样过]", text), key


def test_a_message_in_a_message_and_a_missing_placeholder():
    sentence = Message("budgets.best.more", budget=Message("budgets.small"), first="A", second="B", difference="+1")
    assert "small" in translate(sentence, "en")
    assert "小" in translate(sentence, "zh-TW")
    with pytest.raises(KeyError):
        translate(Message("budgets.best.more", first="A"), "en")
