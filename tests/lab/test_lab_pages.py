"""The lab's sliders in a real browser: they recompute the block, and the page asks for nothing from anywhere."""

import pytest

from harness.lab import page, scalar_block, worked_examples
from harness.lab.texts import LANGUAGES
from support.browser import CHROMIUM, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")]


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


@pytest.mark.parametrize("language", LANGUAGES)
def test_sliders_recompute_the_block(browser, tmp_path, language):
    path = tmp_path / LANGUAGES[language]
    path.write_text(page.render([worked_examples.numbers(), worked_examples.sliders()], {}, language, []), encoding="utf-8")
    for width in (1280, 360):
        shown = browser.open(path, width=width)
        for settings, case in (({}, scalar_block.CASES[0]), ({"W1": -1.5, "gamma2": 2.25, "beta2": 0.5}, scalar_block.CASES[3])):
            moved = "".join(
                f"document.querySelector('.sliders [name={name}]').value = {value};" for name, value in settings.items()
            )
            chosen = f"document.querySelector('.sliders select').value = '{case.name}';"
            shown.value(
                f"{moved}{chosen}document.querySelector('.sliders select').dispatchEvent(new Event('input', {{bubbles: true}}))"
            )
            expected = scalar_block.by_formula(scalar_block.Weights(**settings), scalar_block.Running(), case)
            for name, values in expected.items():
                cell = shown.value(f"document.querySelector('.sliders [data-value={name}]').textContent")
                assert [float(value) for value in cell.split()] == pytest.approx(values, abs=6e-5), name
        shown.value("document.querySelector('.sliders button').click()")
        assert float(shown.value("document.querySelector('.sliders [name=W1]').value")) == scalar_block.Weights().W1
        assert shown.value("document.documentElement.scrollWidth") == width
        assert shown.errors() == []
        assert {url for url in shown.requests() if not url.startswith("data:")} == {path.as_uri()}
