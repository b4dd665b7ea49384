"""The lab's sliders in a real browser: they recompute the block, and the page is self-contained."""

import pytest

from harness.lab import page, scalar_block, worked_examples
from harness.lab.texts import LANGUAGES
from support.browser import errors, open_page, requests

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [1280, 360])
def test_sliders_recompute_the_block(browser, tmp_path, language, width):
    path = tmp_path / LANGUAGES[language]
    chapters = {"numbers": worked_examples.numbers(), "sliders": worked_examples.sliders()}
    path.write_text(page.html(chapters, language, []), encoding="utf-8")
    with open_page(browser, path, width) as opened:
        sliders = opened.locator(".sliders")
        for settings, case in (({}, scalar_block.CASES[0]), ({"W1": -1.5, "gamma2": 2.25, "beta2": 0.5}, scalar_block.CASES[3])):
            for name, value in settings.items():
                sliders.locator(f"[name={name}]").fill(str(value))
            sliders.locator("select").select_option(case.name)
            expected = scalar_block.by_formula(scalar_block.WEIGHTS | settings, scalar_block.RUNNING, case)
            for name, values in expected.items():
                text = sliders.locator(f"[data-value={name}]").text_content()
                assert [float(value) for value in text.split()] == pytest.approx(values, abs=6e-5), name
        sliders.locator("button").click()
        assert float(sliders.locator("[name=W1]").input_value()) == scalar_block.WEIGHTS["W1"]
        assert opened.evaluate("document.documentElement.scrollWidth") == width
        assert errors(opened) == []
        assert requests(opened) == {path.as_uri()}
