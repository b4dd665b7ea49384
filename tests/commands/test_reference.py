"""The pages of docs/ say what the code says, and what they say of files is true of files."""

import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from experiments import all_claims
from harness import reference, run
from harness.config import execution
from harness.config.conf import conf_folder, header_comment, key_comments
from harness.config.data import DataConfig
from harness.config.launcher import LAUNCHERS
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.records import paths, schema
from harness.reporting import reference_tables
from support.helpers import KEYS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FINDING = ROOT / "results" / "findings" / "2026-11-23-demo"
PAGE = (DOCS / "reference.md").read_text()


def test_the_pages_are_what_the_code_gives():
    assert reference.main([str(DOCS), "--check"]) == 0, "run python -m harness.reference"


def test_every_part_stands_in_a_page():
    marked = [name for page in DOCS.glob("*.md") for _, name, _ in reference.MARKED.findall(page.read_text())]
    assert sorted(marked) == sorted(reference_tables.TABLES)


def test_a_page_that_is_stale_is_found_and_written_anew(tmp_path, capsys):
    page = tmp_path / "reference.md"
    shutil.copy(DOCS / "reference.md", page)
    page.write_text(PAGE.replace("| `growth` | `12` |", "| `growth` | `13` |"))
    assert reference.main([str(tmp_path), "--check"]) == 1
    assert "reference.md" in capsys.readouterr().out
    assert "`13`" in page.read_text()
    assert reference.main([str(tmp_path)]) == 0
    assert page.read_text() == PAGE


@pytest.mark.parametrize("text", ["", "<!-- from the code: kyes -->\n<!-- end -->"])
def test_pages_that_cannot_be_written_are_a_usage_error(text, tmp_path, capsys):
    if text:
        (tmp_path / "page.md").write_text(text)
    assert reference.main([str(tmp_path)]) == 2
    assert "keys" in capsys.readouterr().err or not text


def test_every_command_stands_in_the_reference():
    modules = {path.stem for path in (ROOT / "harness").glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in (ROOT / "harness").glob("*/__main__.py")}
    assert modules | packages == set(reference_tables.COMMANDS)
    assert re.findall(r"^### `python -m harness\.(\w+)`$", PAGE, re.M) == list(reference_tables.COMMANDS)


def test_every_key_is_commented_in_conf_and_stands_in_the_reference():
    places = {"config.yaml": "", "data/digits.yaml": "data.", "data/cifar10.yaml": "data.", "data/image_folder.yaml": "data."}
    places["schedule/cifar10.yaml"] = "schedule."
    places |= {f"launcher/{name}.yaml": "launcher." for name in LAUNCHERS}
    for place, prefix in places.items():
        for key, (_, comment) in key_comments(conf_folder() / place).items():
            assert len(comment.split()) >= 3, f"{place}: {key}"
            assert key == "name" or f"| `{prefix}{key}` |" in PAGE
    keys = [
        prefix + field.name
        for config, prefix in ((RunConfig, ""), (DataConfig, "data."), (ScheduleConfig, "schedule."))
        for field in fields(config)
    ]
    for key in {*keys, *execution.KEYS} - {"execution", "data.name"}:
        assert f"| `{key}` |" in PAGE, key
    for path in conf_folder().rglob("*.yaml"):
        assert len(header_comment(path)) > 15, path


def test_every_claim_has_a_row_with_threshold_and_source():
    rows = re.findall(
        r"^\| ([A-Z]\d+) \| (.+) \| (.+) \| (paper|any) \| (.+) \| (`.+`) \|$", (DOCS / "science.md").read_text(), re.M
    )
    assert {row[0] for row in rows} == {claim.id for claim in all_claims()}
    assert all(re.search(r"\d", row[2]) for row in rows), "every statistic has a threshold in numbers"
    asked_by = {row[0]: row[5] for row in rows}
    assert asked_by["D1"] == "`degradation`, `degradation_laptop`"
    assert asked_by["G1"] == "`vanishing_gradient`"


def test_the_files_of_a_run_and_of_its_sweep_hold_what_is_said(tmp_path):
    """A real run with every probe; what a check leaves is in the demo's finding."""
    assert run.main(["depth=8", "probes=[layers,blocks,lesions]", "gradient_norms=every", *KEYS, f"results={tmp_path}"]) == 0
    (sweep,), (trained,) = (list((tmp_path / place).glob("*")) for place in (paths.SWEEPS, paths.RUNS))
    assert {path.name for path in sweep.iterdir()} == set(schema.SWEEP_FILES) - {paths.VERIFICATION, paths.NOTES}
    assert {path.name for path in trained.iterdir()} == set(schema.RUN_FILES) - {paths.CHECKPOINT, paths.EXECUTION}
    for name, columns in schema.COLUMNS.items():
        assert list(pd.read_csv(trained / name)) == list(columns)
    table = list(pd.read_csv(sweep / paths.RUNS_TABLE))
    assert table[-len(schema.RESULTS) :] == list(schema.RESULTS)
    folders = {paths.SWEEP: sweep, paths.REPORT_SUMMARY: sweep, paths.VERIFICATION: FINDING}
    for name, listed in schema.KEYS.items():
        written = json.loads((folders.get(name, trained) / name).read_text())
        assert set(written) <= set(listed), name
        assert set(written) == set(listed) or name in (
            paths.STATUS,
            paths.SWEEP,
        )  # some keys exist only in failed or resumed runs, and in searches
    for verdict in json.loads((sweep / paths.VERDICTS).read_text())["verdicts"]:
        assert set(verdict) == set(schema.VERDICT)
