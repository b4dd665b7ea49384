"""Pages in a real browser: the demo's report, the index of all sweeps, and small pages made by hand."""

import base64
import csv
import gzip
import io
import itertools
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.analysis.tables import Tables
from harness.plots.errors import error_against
from harness.plots.run_tags import key
from harness.plots.style import save
from harness.records import paths
from harness.reporting import build, embedded_tables, index, render
from harness.reporting.document import Badge, Document, Drawing, Fold, Section, Switches, Table, Tally, Text, Widget
from harness.reporting.figures import PLAYER
from support.browser import errors, open_page, requests

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "results" / "findings" / "2026-11-23-demo"
MEGABYTES = 2
DARK = "rgb(21, 24, 27)"
WHITE = "rgb(255, 255, 255)"
LINES, DOTS = "[data-runs]:not(input)", "[data-dots] use"
SLIDER = ".player input[type=range]"
PLAIN_110 = "digits-none-110-seed0-9b27243698"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a results folder that holds the demo as a finding, with a new report."""
    folder = tmp_path_factory.mktemp("pages")
    finding = folder / paths.FINDINGS / DEMO.name
    shutil.copytree(DEMO, finding)
    build.build(finding)
    return folder


@pytest.fixture(scope="module")
def demo(results, tmp_path_factory):
    """Return the path of the demo's page, alone in a folder."""
    path = tmp_path_factory.mktemp("alone") / "page.html"
    shutil.copy(results / paths.FINDINGS / DEMO.name / paths.REPORT_HTML, path)
    return path


@pytest.fixture
def page(browser, demo):
    """Yield the demo's page, its widgets ready; fail if it logs an error."""
    with open_page(browser, demo) as page:
        page.locator(".heat").wait_for()
        yield page
        assert errors(page) == []


def figure(page, name):
    return page.locator(f"figure[data-file={name}]")


def visible(elements):
    """Return how many elements of a locator are visible; an SVG line counts, although its box has no height."""
    return elements.evaluate_all("all => all.filter(element => element.checkVisibility({ visibilityProperty: true })).length")


def style(element, name):
    return element.evaluate("(element, name) => getComputedStyle(element)[name]", name)


def column(page, name):
    """Return the visible cells of a column of the table that can be sorted, top to bottom."""
    table = page.locator("table:has(th button)")
    headings = [text.strip() for text in table.locator("thead tr > *").all_text_contents()]
    return table.locator(f"tbody tr:not([hidden]) > :nth-child({headings.index(name) + 1})").all_text_contents()


def sort_by(page, name):
    page.locator("th").get_by_text(name, exact=True).click()


def write_page(folder, sections, title="made by hand", **options):
    """Write a page of these sections, and return its path."""
    path = folder / "page.html"
    path.write_text(render.render(Document(title, sections, scripts=("heat_map.js",), **options))[0])
    return path


def test_the_demo_is_small_and_self_contained(browser, demo):
    assert demo.stat().st_size < MEGABYTES * 1e6
    for width, scheme in itertools.product((1280, 360), ("light", "dark")):
        with open_page(browser, demo, width, color_scheme=scheme) as page:
            page.locator(".heat").wait_for()
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            assert errors(page) == []
            assert requests(page) == {demo.as_uri()}
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert style(page.locator("body"), "backgroundColor") == (DARK if scheme == "dark" else WHITE)


def test_errors_and_requests_are_recorded(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<script>console.warn('x'); fetch('y').catch(() => 0); undefined.z</script><img src=v.png>")
    with open_page(browser, path) as page:
        assert len(errors(page)) >= 3
        assert {(tmp_path / name).as_uri() for name in ("y", "v.png")} <= requests(page)


def test_light_and_dark_can_be_switched(page):
    background = page.locator("figure svg .x, figure svg path").first
    assert style(background, "fill") == WHITE
    page.locator(".theme").click()
    assert style(page.locator("body"), "backgroundColor") == DARK
    assert style(background, "fill") == DARK


def test_runs_are_sorted_by_numbers_and_by_words(page):
    runs, sorted_by = Tables(DEMO).runs, page.locator("[aria-sort]")
    sort_by(page, "test_error")
    rising = [float(text) for text in column(page, "test_error")]
    assert rising == sorted(rising)
    assert rising == pytest.approx(sorted(runs["test_error"]), rel=1e-3)
    assert sorted_by.count() == 1
    assert sorted_by.get_attribute("aria-sort") == "ascending"
    sort_by(page, "test_error")
    assert [float(text) for text in column(page, "test_error")] == rising[::-1]
    assert sorted_by.get_attribute("aria-sort") == "descending"
    sort_by(page, "shortcut")
    assert column(page, "shortcut") == ["identity"] * 3 + ["none"] * 3


def test_missing_cells_sort_last_in_both_directions_and_infinity_is_a_number(browser, tmp_path):
    cells = ["3", "", "1e-28", "inf", "20", "-1"]
    table = Table(["v"], [[cell] for cell in cells], tools=True)
    with open_page(browser, write_page(tmp_path, [Section("s", [table])])) as page:
        sort_by(page, "v")
        assert column(page, "v") == ["-1", "1e-28", "3", "20", "inf", ""]
        sort_by(page, "v")
        assert column(page, "v") == ["inf", "20", "3", "1e-28", "-1", ""]


def test_columns_are_sorted_from_the_keyboard(page):
    page.locator("table.runs th button").first.focus()
    for key_name in ("Enter", "Tab", "Enter"):
        page.keyboard.press(key_name)
    assert page.locator("[aria-sort]").text_content() == "shortcut"


def test_runs_are_filtered_by_words(page):
    words = page.locator(".finder input")
    words.fill("NONE 110")
    assert column(page, "run") == [PLAIN_110]
    assert page.locator(".finder output").text_content() == "1 of 6 runs"
    words.fill("nothing like it")
    assert column(page, "run") == []
    words.fill("")
    assert len(column(page, "run")) == 6


def test_an_arm_switched_off_in_a_figure_is_hidden_there_alone(page):
    error, gradients = figure(page, "error"), figure(page, "gradients")
    lines, dots, others = error.locator(LINES), error.locator(DOTS), gradients.locator(LINES)
    before, switch = visible(others), error.locator(".switches input").first
    assert (visible(lines), visible(dots)) == (4, 12)  # two panels of two arms of three runs
    switch.click()
    assert (visible(lines), visible(dots)) == (2, 6)
    assert visible(others) == before
    switch.click()
    assert (visible(lines), visible(dots)) == (4, 12)


def test_a_run_switched_off_in_the_table_is_hidden_in_every_figure(page):
    error, gradients, maps = figure(page, "error"), figure(page, "gradients").locator(LINES), page.locator(".names div")
    before = visible(gradients)
    assert maps.count() == 6
    page.locator(f"tr[data-run='{key(PLAIN_110)}'] input").click()
    assert visible(error.locator(DOTS)) == 10
    assert visible(error.locator(LINES)) == 4  # a line of three runs, two of which are left
    assert visible(gradients) == before - 4  # three moments and theory at the first
    assert maps.count() == 5
    page.locator("table.runs thead input").click()  # all on again
    assert visible(gradients) == before


def test_every_dot_of_a_figure_is_one_run(page):
    counts = page.locator("[data-dots]").evaluate_all(
        "all => all.map(group => [group.dataset.dots.split(' ').length, group.querySelectorAll('use').length])"
    )
    assert counts
    assert all(runs == dots for runs, dots in counts)


def picture(page):
    """Return the heat map as a data URL."""
    return page.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def slide(page, position):
    """Move the player to its probed step at this position."""
    page.locator(SLIDER).fill(str(position))


def test_the_slider_shows_the_norms_of_each_probed_step(page):
    with gzip.open(DEMO / paths.RUNS / PLAIN_110 / "layers.csv.gz", "rt") as file:
        norms = [(int(row["step"]), float(row["grad_norm"])) for row in csv.DictReader(file) if row["layer"] == "1"]
    assert page.locator(SLIDER).get_attribute("max") == str(len(norms) - 1)
    first = picture(page)
    height = page.locator("canvas").bounding_box()["height"]
    page.locator("canvas").hover(position={"x": 2, "y": height - 6})  # layer 1 of the last row, the plain net of 110 layers
    for position in (0, 7, len(norms) - 1):
        slide(page, position)
        step, norm = norms[position]
        mantissa, exponent = f"{norm:.2e}".split("e")
        assert page.locator(".reading").text_content() == (
            f"shortcut=none, depth 110: layer 1 of 110 at step {step}: {mantissa}e{int(exponent):+d}"
        )
        assert f"step {step} " in page.locator(".player output").text_content()
    assert picture(page) != first


def test_the_map_is_read_from_the_keyboard(page):
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    assert "depth 20: layer 1 of 20" in page.locator(".reading").text_content()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "depth 56: layer 2 of 56" in page.locator(".reading").text_content()


def test_steps_are_played_to_the_last(page):
    slide(page, 28)
    play = page.locator(".player button")
    play.click()
    assert play.text_content() == "Pause"
    play.and_(page.get_by_text("Play")).wait_for()
    assert page.locator(SLIDER).input_value() == "30"


def colours_of(page):
    """Return the colours of the three cells of a map of one row, left of their middles, where zeros have their dots."""
    image = Image.open(io.BytesIO(base64.b64decode(picture(page).partition(",")[2]))).convert("RGB")
    return [image.getpixel((int((layer + 0.2) * image.width / 3), image.height - 5)) for layer in range(3)]


def test_zeros_and_non_finite_norms_have_colours_off_the_scale(browser, tmp_path):
    norms = [(0, 1, 1.0), (0, 2, 0.0), (0, 3, np.nan), (5, 1, 1e-30), (5, 2, np.inf), (5, 3, 1.0)]
    table = pd.DataFrame(norms, columns=["step", "layer", "grad_norm"]).assign(run="r-1", arm='a, "b"', x=3, seed=0)
    section, readings = Section("s", [Widget(PLAYER.format("heat-maps", "depth"))]), []
    pink, orange = (0xCC, 0x79, 0xA7), (0xD5, 0x5E, 0x00)
    with open_page(browser, write_page(tmp_path, [section], embedded={"heat-maps": embedded_tables.pack(table)})) as page:
        page.locator(".heat").wait_for()
        assert colours_of(page) == [(254, 232, 56), pink, orange]
        page.locator("canvas").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
            readings.append(page.locator(".reading").text_content())
        assert [reading.rpartition(": ")[2] for reading in readings] == ["1.00e+0", "exactly zero", "not finite"]
        assert readings[0].startswith('a, "b", depth 3: layer 1 of 3 at step 0')
        slide(page, 1)
        assert colours_of(page) == [(0, 34, 78), orange, (254, 232, 56)]
        assert errors(page) == []


def test_figures_and_their_data_can_be_downloaded(page, tmp_path):
    buttons = ".downloads button"
    for button in [*figure(page, "error").locator(buttons).all(), figure(page, "gradients").locator(buttons).first]:
        with page.expect_download() as download:
            button.click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
    assert {path.name for path in tmp_path.iterdir()} == {"finished.csv", "error.svg", "error.png", "layers.csv"}
    finished, tables = pd.read_csv(tmp_path / "finished.csv", keep_default_na=False), Tables(DEMO)
    assert finished["run"].tolist() == tables.finished["run"].tolist()
    assert finished["train_error"].tolist() == pytest.approx(tables.finished["train_error"].tolist(), rel=1e-6)
    layers = pd.read_csv(tmp_path / "layers.csv")
    assert len(layers) == len(tables.layers)
    assert layers["grad_norm"].tolist() == pytest.approx(tables.layers["grad_norm"].tolist(), rel=1e-6)
    svg = (tmp_path / "error.svg").read_text()
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in svg
    assert "#d55e00" in svg
    assert (tmp_path / "error.png").read_bytes()[:4] == b"\x89PNG"


def test_labels_are_shown_and_never_executed(browser, tmp_path):
    """Labels from configs and errors reach headings, cells, attributes, switches and embedded tables."""
    bad = "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">'\"&</style></script>"
    runs = pd.DataFrame(
        {"run": ["a-1", "b-2"], "x": [20, 56], "arm": bad, "seed": 0, "status": "done", "train_error": 1.0, "test_error": 2.0}
    )
    norms = pd.DataFrame({"run": "a-1", "arm": bad, "x": 20, "seed": 0, "step": 0, "layer": [1, 2], "grad_norm": [1.0, 2.0]})
    svg = save(next(error_against(runs, "depth")))["svg"].decode()
    drawing = Drawing("error", bad, svg, bad, [Switches(bad, [(bad, ["1"]), ("other", ["2"])])], "finished")
    parts = [Text(bad), Table([bad, "v"], [[bad, "1"], ["z", "2"]], tools=True, runs=["1", "2"], name="runs"), drawing]
    parts += [Fold(bad, [Table([bad], [[bad]], prose=True)], Badge(bad), bad), Tally([(Badge(bad), 1)])]
    embedded = {"finished": embedded_tables.pack(runs), "heat-maps": embedded_tables.pack(norms)}
    section = Section(bad, [*parts, Widget(PLAYER.format("heat-maps", bad))])
    with open_page(browser, write_page(tmp_path, [section], bad, embedded=embedded)) as page:
        page.locator(".heat").wait_for()
        assert page.title() == bad
        assert page.locator("h2").first.text_content() == bad
        assert page.locator("td[data-label]").first.get_attribute("data-label") == bad
        assert page.locator("main script, main img").count() == 0
        assert page.locator(".names span").first.text_content() == bad
        assert errors(page) == []


def test_nothing_is_hidden_without_scripts_or_in_print(browser, demo):
    """Nothing is folded or left out; controls that need a script are hidden."""
    with open_page(browser, demo, java_script_enabled=False) as static, open_page(browser, demo) as printed:
        printed.locator(".heat").wait_for()
        printed.emulate_media(media="print")
        printed.evaluate("dispatchEvent(new Event('beforeprint'))")
        for page in (static, printed):
            assert visible(page.locator("details:not([open])")) == 0
            assert visible(page.locator("details p")) > 0
            assert visible(page.locator("table.runs tbody tr")) == 6
            assert visible(page.locator(".picture svg")) == len(list((DEMO / paths.FIGURES).glob("*.png")))
            assert visible(page.locator(".heat, .switches, .downloads, .finder")) == 0
            assert errors(page) == []


def test_figures_have_alt_text(page):
    label = figure(page, "error").locator(".picture").get_attribute("aria-label")
    assert "none 0.0 → 89.1 %, identity 0.0 → 0.0 %" in label
    assert "Horizontal: depth (weighted layers), 20 to 110." in label
    assert page.locator(".picture").evaluate_all("all => all.every(picture => picture.ariaLabel.length > 100)")


def test_a_link_to_a_folded_claim_opens_it(page):
    table = page.locator("#claim-1 table").first
    assert not table.is_visible()
    page.locator("table.verdicts a").first.click()
    table.wait_for()


def test_the_index_is_filtered_and_requests_only_files_beside_it(browser, results):
    other = results / paths.FINDINGS / "2020-01-01-other"
    other.mkdir()
    (other / "README.md").write_text("# something else\n")
    path = index.build(results)
    for width in (1280, 360):
        with open_page(browser, path, width) as page:
            page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            articles = page.locator("article").filter(visible=True)
            assert page.locator("img").count() == 1
            assert all(url.startswith(results.as_uri()) for url in requests(page))
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert articles.count() == 2
            page.locator(".finder input").fill("digits D11")
            assert articles.count() == 1
            assert "inconsistent" in articles.text_content()
            assert errors(page) == []
