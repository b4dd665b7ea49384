"""Reports: every sweep gets the figures that its columns allow, from its folders alone."""

import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import plots, report, run
from harness.analysis.phases import moments
from harness.analysis.tables import Tables
from harness.plots import style
from harness.plots.errors import error_against
from harness.plots.gradients import by_layer
from harness.plots.run_tags import key, runs_in
from harness.records import paths, states, writer
from harness.records.run import Run, write_status
from harness.reporting import document, render
from support.helpers import KEYS, keys, rarely


def sweep_of(results, *arguments):
    """Return the folder of a small sweep, trained serially in this process."""
    assert run.main(["-m", "launcher=inline", *arguments, *KEYS, f"results={results}"]) == 0
    (folder,) = (results / paths.SWEEPS).iterdir()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    arguments = ("depth=8,14", "shortcut=none,identity", "seed=0,1", "gradient_norms=every")
    return sweep_of(tmp_path_factory.mktemp("report"), *arguments)


def text_of(html):
    return re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)


def test_html_and_markdown_say_the_same(folder):
    html, markdown = (folder / paths.REPORT_HTML).read_text(), (folder / paths.REPORT_MARKDOWN).read_text()
    titles = [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", html)]
    assert titles == re.findall(r"^## (.*)$", markdown, flags=re.MULTILINE)
    assert titles[:2] == ["Verdicts", "Requested runs"]
    assert titles[titles.index("Runs") + 1] == "Error against depth"
    assert titles[-1] == "Reproducibility"
    for row in pd.read_csv(folder / paths.RUNS_TABLE)["run"]:
        assert row in text_of(html)
        assert row in markdown


def test_the_page_asks_for_nothing_from_anywhere(folder):
    html = (folder / paths.REPORT_HTML).read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', text_of(html))
    assert "@import" not in html
    links = re.findall(r'xlink:href="([^"#]+)', html)
    assert all(link.startswith("data:") for link in links)


def test_every_id_on_the_page_is_unique_and_every_reference_has_its_target(folder):
    html = (folder / paths.REPORT_HTML).read_text()
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'href="#([^"]+)"', html))
    assert used <= set(ids)


def test_every_picture_is_there_as_svg_and_png(folder):
    names = {path.name for path in (folder / paths.FIGURES).iterdir()}
    for picture in plots.ALL:
        assert {f"{picture.name}.svg", f"{picture.name}.png"} <= names
    assert "heat-maps-2.svg" not in names  # 4 arms and depths of 2 seeds: one map each, 6 per figure


def test_every_line_of_a_figure_is_tagged_with_its_runs(folder):
    """The runs of every arm and depth, so that the page can hide them; heat maps are drawn run by run instead."""
    runs = {key(run) for run in pd.read_csv(folder / paths.RUNS_TABLE)["run"]}
    residual = {key(run) for run in pd.read_csv(folder / paths.RUNS_TABLE).query("shortcut == 'identity'")["run"]}
    for picture in set(plots.ALL) - {plots.HEAT_MAPS}:
        svg = (folder / paths.FIGURES / f"{picture.name}.svg").read_text()
        assert runs_in(svg) == (residual if picture is plots.BRANCHES else runs), picture.name


def test_rebuilding_from_the_folders_alone_gives_the_same_bytes(folder, tmp_path):
    results = tmp_path / "moved"
    shutil.copytree(folder.parent.parent, results)
    again = results / paths.SWEEPS / folder.name
    before = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    shutil.rmtree(again / paths.FIGURES)
    for name in (paths.RUNS_TABLE, paths.VERDICTS, paths.REPORT_HTML, paths.REPORT_MARKDOWN):
        (again / name).unlink()
    for weights in results.rglob(paths.WEIGHTS):
        weights.unlink()
    assert report.main([str(again)]) == 0
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == before


def test_a_kept_sweep_stands_on_its_own(folder, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(folder.parent.parent, results)
    assert report.main([str(results / paths.SWEEPS / folder.name), "--keep", "small"]) == 0
    (finding,) = (results / paths.FINDINGS).iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-small", finding.name)
    shutil.rmtree(results / paths.RUNS)
    assert report.main([str(finding)]) == 0
    assert not list(finding.rglob(paths.WEIGHTS))
    assert (finding / paths.RUNS_TABLE).read_bytes() == (folder / paths.RUNS_TABLE).read_bytes()
    assert report.main([str(results / paths.SWEEPS / folder.name), "--keep", "small"]) == 2


def test_expectations_written_before_the_runs_stay_in_the_finding(folder, tmp_path):
    """A folder with only a README is filled, whatever its date; a finding without a sweep is not touched."""
    results = tmp_path / "results"
    shutil.copytree(folder.parent.parent, results)
    begun, other = (results / paths.FINDINGS / name for name in ("2020-02-29-small", "2020-02-29-rates"))
    for finding in (begun, other):
        finding.mkdir(parents=True)
        (finding / paths.NOTES).write_text("Plain nets get worse.\n")
    (other / "rates.csv").write_text("")
    checked = {"runs": [{"run": "digits-none-8", "kind": "exact", "same": True, "found": "the same, weights too"}]}
    writer.write_json(results / paths.SWEEPS / folder.name / paths.VERIFICATION, checked)
    for name in ("small", "rates"):
        assert report.main([str(results / paths.SWEEPS / folder.name), "--keep", name]) == 0
    assert (begun / paths.NOTES).read_text() == "Plain nets get worse.\n"
    assert "the same, weights too" in (begun / paths.REPORT_MARKDOWN).read_text()
    assert not (other / paths.SWEEP).exists()
    assert len(list((results / paths.FINDINGS).iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "x", "arms"),
    [
        *rarely((["depth=8,14"], "depth", ["all runs"]), (["width=4,6,8"], "width", ["all runs"])),
        (
            ["schedule.learning_rate=0.01,0.1", "shortcut=none,identity"],
            "schedule.learning_rate",
            ["shortcut=none", "shortcut=identity"],
        ),
        (["norm=batch,none"], "depth", ["norm=batch", "norm=none"]),
        *rarely((["seed=0,1"], "depth", ["all runs"]), (["schedule.steps=12,14"], "schedule.steps", ["all runs"])),
        (["data.augment=true,false", "depth=8,14"], "depth", ["data.augment=true", "data.augment=false"]),
        (["probes=[layers],[]"], "depth", ["all runs"]),
        (
            ["schedule.milestones=[1],[2]"],
            "depth",
            ["schedule.milestones=[1]", "schedule.milestones=[2]"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_any_sweep_gets_what_its_columns_allow(arguments, x, arms, tmp_path):
    base = [] if any(argument.startswith("depth=") for argument in arguments) else ["depth=8"]
    arguments = ["-m", "launcher=inline", *base, *keys(*arguments)]
    assert run.main([*arguments, f"results={tmp_path}"]) == 0
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    tables = Tables(folder)
    assert tables.x == x
    assert list(dict.fromkeys(tables.runs["arm"])) == arms
    assert (folder / paths.FIGURES / "error.png").is_file()


def layer_rows(values, depth=3):
    """Return the moments of one run of `depth` layers with these gradient norms at steps 0, 5 and 20."""
    steps = np.repeat([0, 5, 20], depth)
    table = pd.DataFrame({"step": steps, "layer": [*range(1, depth + 1)] * 3, "grad_norm": values, "kind": "conv"})
    return moments(table.drop(columns="kind"), "layer").assign(run="r", arm="shortcut=none", x=depth, seed=0)


def test_true_zeros_stand_at_a_labelled_floor_below_everything_else():
    (figure,) = by_layer(layer_rows([0.0, 1e-28, 1.0] * 3), "depth")
    ax = figure.axes[0]
    line = ax.get_lines()[-1].get_ydata()
    assert line[1:].tolist() == [1e-28, 1.0]
    assert 0 < line[0] < 1e-28
    assert any("exactly zero" in text.get_text() for text in ax.texts)
    assert ax.get_ylim()[0] < line[0]


def test_without_zeros_there_is_no_floor_and_what_is_not_finite_is_counted():
    (figure,) = by_layer(layer_rows([1e-3, np.inf, 1.0] * 3), "depth")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1 value(s) not finite, not drawn"]


def test_all_zero_gradients_are_drawn_too():
    (figure,) = by_layer(layer_rows([0.0] * 9), "depth")
    style.save(figure)
    assert "undefined" in figure.axes[0].get_title()


def test_a_diverged_run_is_marked_and_titles_say_what_is_seen():
    runs = pd.DataFrame(
        {
            "x": [20, 110, 20, 110],
            "arm": ["shortcut=none"] * 2 + ["shortcut=identity"] * 2,
            "status": ["done", "diverged", "done", "done"],
            "train_error": [10.0, 90.0, 5.0, 4.0],
            "test_error": [12.0, 90.0, 8.0, 7.5],
        }
    )
    (figure,) = error_against(runs, "depth")
    assert "none 10.0 → 90.0 %, identity 5.0 → 4.0 %" in figure.axes[0].get_title()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["shortcut=none", "diverged", "shortcut=identity"]


def test_every_value_lies_inside_its_panel():
    runs = pd.DataFrame({"x": [20, 110], "arm": "s", "status": "done", "train_error": [10.0, 30.0], "test_error": [20.0, 60.0]})
    (figure,) = error_against(runs, "depth")
    for ax in figure.axes:
        low, high = ax.get_ylim()
        values = [y for line in ax.get_lines() for y in line.get_ydata()]
        assert values
        assert all(low <= y <= high for y in values)


def test_twelve_arms_are_told_apart():
    styles = style.arm_styles(f"arm {number}" for number in range(12))
    assert len({tuple(style.values()) for style in styles.values()}) == 12


def test_equal_figures_are_equal_bytes():
    one, other = (style.save(next(by_layer(layer_rows([1.0, 2.0, 3.0] * 3), "depth"))) for _ in range(2))
    assert one == other


def test_an_unfinished_run_is_listed_and_makes_the_exit_code_1(folder, tmp_path, capsys):
    results = tmp_path / "results"
    shutil.copytree(folder.parent.parent, results)
    sweep = results / paths.SWEEPS / folder.name
    victim = sorted((results / paths.RUNS).iterdir())[0]
    write_status(Run(victim), states.RUNNING, step=3, steps=12)
    assert report.main([str(sweep)]) == 1
    assert f"{victim.name} is not done, interrupted." in (sweep / paths.REPORT_MARKDOWN).read_text()
    assert len(pd.read_csv(sweep / paths.RUNS_TABLE)) == 8


def test_text_is_escaped_in_both_reports():
    sections = [
        document.Section("<script>", [document.Text("a < b | c"), document.Table(["<h>"], [["x|y"]]), document.Code("<c>")])
    ]
    html, markdown = render.render(document.Document("<title>", sections))
    assert "<script>" not in html.partition("<body>")[2].partition("</main>")[0]
    assert "<h2>&lt;script&gt;</h2>" in html
    assert "a &lt; b" in html
    assert "x\\|y" in markdown


def test_numbers_are_written_for_people():
    assert [
        document.format_value(value)
        for value in (0.1 + 0.2, 1727962, 11090.0, 1.3e-28, float("nan"), float("inf"), None, True, "none")
    ] == [
        "0.3",
        "1727962",
        "11090",
        "1.3e-28",
        "",
        "inf",
        "",
        "yes",
        "none",
    ]


def test_figures_of_findings_and_readme_exist():
    root = Path(__file__).resolve().parents[2]
    for text in (root / "README.md", *(root / "results" / "findings").glob("*/report.md")):
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text.read_text()):
            assert (text.parent / picture).is_file(), (text, picture)
