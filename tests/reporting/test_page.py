"""The pages in a real browser: the demo's report, the page over all sweeps, and small pages made by hand."""

import base64
import csv
import gzip
import io
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
from harness.reporting.document import Badge, Drawing, Fold, Page, Section, Switches, Table, Tally, Text, Widget
from harness.reporting.figures import PLAYER
from support.browser import CHROMIUM, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")]

DEMO = Path(__file__).resolve().parents[2] / "results" / "findings" / "2026-11-23-demo"
MEGABYTES = 2
FIGURE = "document.querySelector('figure[data-file={}]')"
PLAIN_110 = "digits-none-110-seed0-9b27243698"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a results folder that holds the demo as a finding, its report built anew."""
    folder = tmp_path_factory.mktemp("pages")
    finding = folder / paths.FINDINGS / DEMO.name
    shutil.copytree(DEMO, finding)
    build.build(finding)
    return folder


@pytest.fixture(scope="module")
def demo(results, tmp_path_factory):
    """Return the demo's page, alone in a folder."""
    page = tmp_path_factory.mktemp("alone") / "page.html"
    shutil.copy(results / paths.FINDINGS / DEMO.name / paths.REPORT_HTML, page)
    return page


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


@pytest.fixture
def page(browser, demo):
    one = browser.open(demo)
    one.until("!document.querySelector('.heat').hidden")
    yield one
    assert one.errors() == []
    one.close()


def shown(page, selector, within="document"):
    """Return how many of the elements are visible."""
    seen = "(one) => one.checkVisibility({ visibilityProperty: true })"
    return page.value(f"[...{within}.querySelectorAll({selector!r})].filter({seen}).length")


def column(page, name):
    """Return the shown cells of a column of the table of runs, from above."""
    return page.value(f"""(() => {{
        const table = document.querySelector("table.runs");
        const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === {name!r});
        return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[place].textContent);
    }})()""")


def press_heading(page, name):
    page.value(f"[...document.querySelectorAll('table.runs th button')].find((one) => one.textContent === {name!r}).click()")


def written(folder, sections, **more):
    """Write a page of these sections, and return its path."""
    path = folder / "made.html"
    path.write_text(render.render(Page("made by hand", sections, scripts=("heat_map.js",), **more))[0])
    return path


def test_the_demo_is_small_and_asks_for_nothing(browser, demo):
    assert demo.stat().st_size < MEGABYTES * 1e6
    for width, dark in ((1280, False), (1280, True), (360, False), (360, True)):
        page = browser.open(demo, width=width, dark=dark)
        page.until("!document.querySelector('.heat').hidden")
        page.value("scrollTo(0, document.body.scrollHeight)")
        assert page.errors() == []
        assert {url for url in page.requests() if not url.startswith(("data:", "blob:"))} == {demo.as_uri()}
        assert page.value("document.documentElement.scrollWidth") == width
        paper = page.value("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")
        page.close()


def test_the_watch_over_errors_and_requests_can_fail(browser, tmp_path):
    (tmp_path / "bad.html").write_text(
        "<script>console.warn('x'); fetch('y').catch(() => 0); undefined.z</script><img src=v.png>"
    )
    page = browser.open(tmp_path / "bad.html")
    assert len(page.errors()) >= 3
    assert {(tmp_path / name).as_uri() for name in ("y", "v.png")} <= set(page.requests())
    page.close()


def test_light_and_dark_can_be_switched(page):
    colour = "getComputedStyle(document.querySelector('figure svg .x, figure svg path')).fill"
    before = page.value(colour)
    page.value("document.querySelector('.theme').click()")
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    assert (before, page.value(colour)) == ("rgb(255, 255, 255)", "rgb(21, 24, 27)")


def test_runs_are_sorted_by_numbers_and_by_words(page):
    runs = Tables(DEMO).runs
    press_heading(page, "test_error")
    rising = [float(text) for text in column(page, "test_error")]
    assert rising == sorted(rising)
    assert rising == pytest.approx(sorted(runs["test_error"]), rel=1e-3)
    assert page.value("document.querySelectorAll('[aria-sort]').length") == 1
    assert page.value("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    press_heading(page, "test_error")
    assert [float(text) for text in column(page, "test_error")] == rising[::-1]
    assert page.value("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"
    press_heading(page, "shortcut")
    assert column(page, "shortcut") == ["identity"] * 3 + ["none"] * 3


def test_what_is_missing_comes_last_either_way_and_infinity_is_a_number(browser, tmp_path):
    cells = ["3", "", "1e-28", "inf", "20", "-1"]
    page = browser.open(written(tmp_path, [Section("s", [Table(["v"], [[cell] for cell in cells], tools=True)])]))
    read = "[...document.querySelectorAll('td')].map((cell) => cell.textContent)"
    page.value("document.querySelector('th button').click()")
    assert page.value(read) == ["-1", "1e-28", "3", "20", "inf", ""]
    page.value("document.querySelector('th button').click()")
    assert page.value(read) == ["inf", "20", "3", "1e-28", "-1", ""]
    page.close()


def test_a_heading_is_sorted_by_from_the_keyboard(page):
    page.value("document.querySelector('table.runs th button').focus()")
    page.key("Enter")
    page.key("Tab")
    page.key("Enter")
    assert page.value("document.querySelector('[aria-sort]').textContent") == "shortcut"


def test_runs_are_filtered_by_words(page):
    filter_by = "field.value = {!r}; field.dispatchEvent(new Event('input'))"
    script = "(() => {{ const field = document.querySelector('.finder input'); {} }})()"
    page.value(script.format(filter_by.format("NONE 110")))
    assert column(page, "run") == [PLAIN_110]
    assert page.value("document.querySelector('.finder output').textContent") == "1 of 6 runs"
    page.value(script.format(filter_by.format("nothing like it")))
    assert column(page, "run") == []
    page.value(script.format(filter_by.format("")))
    assert len(column(page, "run")) == 6


def test_an_arm_switched_off_in_a_figure_is_gone_from_it_alone(page):
    figure, other = map(FIGURE.format, ("error", "gradients"))
    lines, dots = "[data-runs]:not(input)", "[data-dots] use"
    before = shown(page, lines, other)
    assert (shown(page, lines, figure), shown(page, dots, figure)) == (4, 12)  # two panels of two arms of three runs
    page.value(f"{figure}.querySelector('.switches input').click()")
    assert (shown(page, lines, figure), shown(page, dots, figure)) == (2, 6)
    assert shown(page, lines, other) == before
    page.value(f"{figure}.querySelector('.switches input').click()")
    assert (shown(page, lines, figure), shown(page, dots, figure)) == (4, 12)


def test_a_run_switched_off_in_the_table_is_gone_from_every_figure(page):
    figure, gradients = map(FIGURE.format, ("error", "gradients"))
    before, maps = shown(page, "[data-runs]:not(input)", gradients), page.value("document.querySelectorAll('.names div').length")
    page.value(f"document.querySelector('tr[data-run=\"{key(PLAIN_110)}\"] input').click()")
    assert shown(page, "[data-dots] use", figure) == 10
    assert shown(page, "[data-runs]:not(input)", figure) == 4  # a line of three runs, two of which are left
    assert shown(page, "[data-runs]:not(input)", gradients) == before - 4  # three moments and theory at the first
    assert page.value("document.querySelectorAll('.names div').length") == maps - 1 == 5
    page.value("document.querySelector('table.runs thead input').click()")  # all on again
    assert shown(page, "[data-runs]:not(input)", gradients) == before


def test_every_dot_of_a_figure_is_one_run(page):
    counts = page.value(
        "[...document.querySelectorAll('[data-dots]')].map((g) => [g.dataset.dots.split(' ').length, "
        "g.querySelectorAll('use').length])"
    )
    assert counts
    assert all(runs == dots for runs, dots in counts)


def picture_of(page):
    return page.value("document.querySelector('canvas').toDataURL()")


def slide(page, place):
    slider = "document.querySelector('.player input[type=range]')"
    page.value(f"{slider}.value = {place}; {slider}.oninput()")


def test_the_slider_shows_the_norms_of_each_probed_step(page):
    with gzip.open(DEMO / paths.RUNS / PLAIN_110 / "layers.csv.gz", "rt") as file:
        norms = [(int(row["step"]), float(row["grad_norm"])) for row in csv.DictReader(file) if row["layer"] == "1"]
    assert page.value("Number(document.querySelector('.player input[type=range]').max)") == len(norms) - 1
    first = picture_of(page)
    page.value("document.querySelector('canvas').scrollIntoView()")
    left, bottom = (page.value(f"document.querySelector('canvas').getBoundingClientRect().{side}") for side in ("left", "bottom"))
    page.point(left + 2, bottom - 6)  # the first layer of the last row, the plain net of 110 layers
    for place in (0, 7, len(norms) - 1):
        slide(page, place)
        step, norm = norms[place]
        mantissa, exponent = f"{norm:.2e}".split("e")
        assert page.value("document.querySelector('.reading').textContent") == (
            f"shortcut=none, depth 110: layer 1 of 110 at step {step}: {mantissa}e{int(exponent):+d}"
        )
        assert f"step {step} " in page.value("document.querySelector('.player output').textContent")
    assert picture_of(page) != first


def test_the_map_is_read_from_the_keyboard(page):
    page.value("document.querySelector('canvas').focus()")
    reading = "document.querySelector('.reading').textContent"
    page.key("ArrowRight")
    assert "depth 20: layer 1 of 20" in page.value(reading)
    page.key("ArrowRight")
    page.key("ArrowDown")
    assert "depth 56: layer 2 of 56" in page.value(reading)


def test_steps_are_played_to_the_last(page):
    slide(page, 28)
    play = "document.querySelector('.player button')"
    page.value(f"{play}.click()")
    assert page.value(f"{play}.textContent") == "Pause"
    page.until(f"{play}.textContent === 'Play'")
    assert page.value("document.querySelector('.player input[type=range]').value") == "30"


def colours_of(page):
    """Return the colours of the three cells of a map of one row, left of their middles, where zeros have their dots."""
    image = Image.open(io.BytesIO(base64.b64decode(picture_of(page).partition(",")[2]))).convert("RGB")
    return [image.getpixel((int((layer + 0.2) * image.width / 3), image.height - 5)) for layer in range(3)]


def test_zeros_and_what_is_not_finite_are_no_colours_of_the_scale(browser, tmp_path):
    norms = [(0, 1, 1.0), (0, 2, 0.0), (0, 3, np.nan), (5, 1, 1e-30), (5, 2, np.inf), (5, 3, 1.0)]
    table = pd.DataFrame(norms, columns=["step", "layer", "grad_norm"]).assign(run="r-1", arm='a, "b"', x=3, seed=0)
    section = Section("s", [Widget(PLAYER.format("heat-maps", "depth"))])
    page = browser.open(written(tmp_path, [section], embedded={"heat-maps": embedded_tables.packed(table)}))
    page.until("!document.querySelector('.heat').hidden")
    pink, orange = (0xCC, 0x79, 0xA7), (0xD5, 0x5E, 0x00)
    assert colours_of(page) == [(254, 232, 56), pink, orange]
    page.value("document.querySelector('canvas').focus()")
    reading, said = "document.querySelector('.reading').textContent", []
    for _ in range(3):
        page.key("ArrowRight")
        said.append(page.value(reading))
    assert [words.rpartition(": ")[2] for words in said] == ["1.00e+0", "exactly zero", "not finite"]
    assert said[0].startswith('a, "b", depth 3: layer 1 of 3 at step 0')
    slide(page, 1)
    assert colours_of(page) == [(0, 34, 78), orange, (254, 232, 56)]
    assert page.errors() == []
    page.close()


def test_the_data_behind_a_figure_and_the_figure_are_saved(page, tmp_path):
    page.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.value("document.querySelectorAll('figure[data-file=\"error\"] .downloads button').forEach((one) => one.click())")
    page.value("document.querySelector('figure[data-file=\"gradients\"] .downloads button').click()")
    names = {"finished.csv", "error.svg", "error.png", "layers.csv"}
    page.wait_until(lambda: {path.name for path in tmp_path.iterdir()} >= names)
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


def test_text_is_shown_and_never_run(browser, tmp_path):
    """Labels from configs and errors reach headings, cells, attributes, switches and embedded tables."""
    bad = "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">'\"&</style></script>"
    runs = pd.DataFrame(
        {"run": ["a-1", "b-2"], "x": [20, 56], "arm": bad, "seed": 0, "status": "done", "train_error": 1.0, "test_error": 2.0}
    )
    svg = save(next(error_against(runs, "depth")))["svg"].decode()
    drawing = Drawing("error", bad, svg, bad, [Switches(bad, [(bad, ["1"]), ("other", ["2"])])], "finished")
    parts = [Text(bad), Table([bad, "v"], [[bad, "1"], ["z", "2"]], tools=True, runs=["1", "2"], name="runs"), drawing]
    parts += [Fold(bad, [Table([bad], [[bad]], prose=True)], Badge(bad), bad), Tally([(Badge(bad), 1)])]
    behind = {"finished": embedded_tables.packed(runs), "heat-maps": embedded_tables.packed(norms_of(bad))}
    section = Section(bad, [*parts, Widget(PLAYER.format("heat-maps", bad))])
    path = tmp_path / "bad.html"
    path.write_text(render.render(Page(bad, [section], scripts=("heat_map.js",), embedded=behind))[0])
    page = browser.open(path)
    page.until("!document.querySelector('.heat').hidden")
    assert page.value("document.title") == bad
    assert page.value("document.querySelector('h2').textContent") == bad
    assert page.value("document.querySelector('td[data-label]').dataset.label") == bad
    assert page.value("document.querySelectorAll('main script, main img').length") == 0
    assert page.value("document.querySelector('.names span').textContent") == bad
    assert page.errors() == []
    page.close()


def norms_of(arm):
    return pd.DataFrame({"run": "a-1", "arm": arm, "x": 20, "seed": 0, "step": 0, "layer": [1, 2], "grad_norm": [1.0, 2.0]})


def test_without_scripts_and_in_print_all_is_there(browser, demo):
    """Nothing is folded or left out; what needs a script is not shown."""
    still = browser.open(demo, scripts=False)
    printed = browser.open(demo)
    printed.until("!document.querySelector('.heat').hidden")
    printed.ask("Emulation.setEmulatedMedia", media="print")
    printed.value("dispatchEvent(new Event('beforeprint'))")
    for page in (still, printed):
        assert shown(page, "details:not([open])") == 0
        assert shown(page, "details p") > 0
        assert shown(page, "table.runs tbody tr") == 6
        assert shown(page, ".picture svg") == len(list((DEMO / paths.FIGURES).glob("*.png")))
        assert shown(page, ".heat, .switches, .downloads, .finder") == 0
        assert page.errors() == []
        page.close()


def test_figures_say_in_words_what_is_seen(page):
    words = page.value("document.querySelector('figure[data-file=\"error\"] .picture').ariaLabel")
    assert "none 0.0 → 89.1 %, identity 0.0 → 0.0 %" in words
    assert "Horizontal: depth (weighted layers), 20 to 110." in words
    assert page.value("[...document.querySelectorAll('.picture')].every((one) => one.ariaLabel.length > 100)")


def test_a_link_to_a_folded_claim_opens_it(page):
    assert shown(page, "#claim-1 table") == 0
    page.value("document.querySelector('table.verdicts a').click()")
    page.until("document.querySelector('#claim-1').open")
    assert shown(page, "#claim-1 table") > 0


def test_the_page_over_all_is_filtered_and_asks_for_files_beside_it_alone(browser, results):
    other = results / paths.FINDINGS / "2020-01-01-other"
    other.mkdir()
    (other / "README.md").write_text("# something else\n")
    path = index.build(results)
    for width in (1280, 360):
        page = browser.open(path, width=width)
        page.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert page.value("document.images.length") == 1
        assert all(url.startswith((results.as_uri(), "data:")) for url in page.requests())
        assert page.value("document.documentElement.scrollWidth") == width
        assert shown(page, "article") == 2
        page.value("(() => { const f = document.querySelector('.finder input'); f.value = 'digits D11'; f.oninput(); })()")
        assert shown(page, "article") == 1
        assert "inconsistent" in page.value("document.querySelector('article:not([hidden])').textContent")
        assert page.errors() == []
        page.close()
