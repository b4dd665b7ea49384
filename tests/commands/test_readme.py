"""The examples of README and guide work, and the numbers they show are those of findings."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.config.data import SCHEDULES, DataConfig
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.records import paths
from support.helpers import KEYS, configs_of
from support.pages import examples

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
PYTHON = [*examples(README).values(), *examples(GUIDE).values()]


def test_the_python_example(tmp_path):
    """Run the lines of the README with a shorter training."""
    example = next(code for code in PYTHON if "harness.train" in code)
    short = "from harness import *; import dataclasses, harness.config.run as c\n"
    short += "c.SCHEDULES['digits'] = dataclasses.replace(c.SCHEDULES['digits'], steps=3)\n"
    done = subprocess.run(
        [sys.executable, "-c", short + example],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "results/runs/digits-none-20-seed0" in done.stdout
    assert "stem.conv" in done.stdout


def test_a_shortcut_of_your_own_in_ten_lines(tmp_path):
    """Sweep the README's class, in a file, beside the built-in shortcut in parallel workers."""
    code = next(code for code in PYTHON if "SHORTCUT.register" in code)
    assert len(code.strip().splitlines()) <= 10
    (tmp_path / "half.py").write_text(code)

    def sweep():
        arguments = ["-m", "plugins=[half]", "shortcut=identity,half", "depth=8", *KEYS]
        command = [sys.executable, "-m", "harness.run", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        folders = list((tmp_path / "results" / "runs").iterdir())
        return {folder.name: (folder / paths.STEPS).read_bytes() for folder in folders}

    runs = sweep()
    assert sorted(name.split("-")[1] for name in runs) == ["half", "identity"]
    assert len(set(runs.values())) == 2
    (tmp_path / "half.py").write_text(code.replace("0.5", "0.25"))
    changed = sweep()
    assert len(changed) == 4  # both arms name the plugin, and its text is part of their identity
    assert set(changed) > set(runs)


def test_the_statistic_of_every_run():
    example = next(code for code in PYTHON if "tables.reduce" in code)
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "early" in done.stdout
    assert len(done.stdout.splitlines()) == 7  # a header and six runs


def test_the_yaml_files_and_the_python_defaults_are_the_same():
    for data in SCHEDULES:
        (config,) = configs_of([f"data={data}"])
        assert config.schedule == SCHEDULES[data]
        assert config == RunConfig(data=DataConfig(data))
    (warm,) = configs_of(["data=cifar10", "schedule=cifar10_warmup"])
    assert warm.schedule == ScheduleConfig(warmup="until_error")


FINDINGS = sorted((ROOT / "results" / "findings").glob("*/"))
SWEEPS = [finding for finding in FINDINGS if (finding / paths.SWEEP).is_file()]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda path: path.name)
def test_a_finding_is_small_and_documented(finding):
    """README.md has the four headings; files that are not committed do not count towards the size."""
    built = [finding / paths.REPORT_HTML, *(finding / paths.FIGURES).glob("*.svg")]
    kept = {path for path in finding.rglob("*") if path.is_file()} - set(built)
    assert sum(path.stat().st_size for path in kept) < 5 * 2**20
    headings = re.findall(r"^## (.*)$", (finding / paths.NOTES).read_text(), flags=re.MULTILINE)
    assert headings == ["Command", "What was expected", "What was seen", "What went against expectation"]


@pytest.mark.parametrize("finding", SWEEPS, ids=lambda path: path.name)
def test_a_sweep_kept_as_a_finding_rebuilds_its_table_from_its_runs(finding, tmp_path):
    from harness.analysis.tables import Tables

    written = pd.read_csv(finding / paths.RUNS_TABLE, keep_default_na=False, dtype=str)
    Tables(finding).runs_table.to_csv(tmp_path / "again.csv", index=False)
    again = pd.read_csv(tmp_path / "again.csv", keep_default_na=False, dtype=str)
    assert again[list(written.columns)].equals(written)  # a key that came later has a column of its default


def same(value, known):
    """Return whether a printed word equals a finding's value, for numbers to three digits or more."""
    return value == str(known) or float(value) == pytest.approx(float(known), rel=1e-3)


def test_the_readme_shows_the_numbers_of_its_findings():
    """Every run in a printed table belongs to a linked finding and has its numbers."""
    linked = set(re.findall(r"results/findings/([^/)\s\]]+)", README))
    tables = [pd.read_csv(finding / paths.RUNS_TABLE, keep_default_na=False) for finding in SWEEPS if finding.name in linked]
    runs = pd.concat(tables).set_index("run")
    header, checked = [], 0
    for words in (line.split() for line in README.splitlines() if line.startswith("    ")):
        if words[-1:] == ["run"]:
            header = words
        elif words and words[-1] in runs.index:
            rows = runs.loc[[words[-1]], header[:-1]].to_numpy().tolist()  # two of a run in two findings
            assert any(all(map(same, words[:-1], row)) for row in rows), (words, rows)
            checked += 1
    assert checked


def test_the_readme_shows_the_verdicts_of_its_findings():
    """In the column of a finding's report, every cell has the verdicts of that report on the claim."""
    findings: list[str | None] = []
    checked = 0
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        linked = [re.search(r"results/findings/([^/]+)/report\.md", cell) for cell in cells]
        if not cells or any(linked):
            findings = [link and link[1] for link in linked]
        elif findings and re.fullmatch(r"[A-Z]\d+", cells[0]):
            for finding, cell in zip(findings, cells, strict=True):
                if finding:
                    verdicts = json.loads((ROOT / "results" / "findings" / finding / paths.VERDICTS).read_text())["verdicts"]
                    expected = {verdict["verdict"] for verdict in verdicts if verdict["claim"] == cells[0]}
                    assert set(cell.split(", ")) == (expected or {""}), (cells[0], finding)
                    checked += 1
    assert checked


def test_the_readme_shows_the_speed_that_was_measured():
    """Every row of the table is in the finding's report, which bench.json reproduces."""
    from harness.bench import report, results

    (finding,) = set(re.findall(r"results/findings/([^/)]+-speed)/README.md", README))
    written = (ROOT / "results" / "findings" / finding / paths.REPORT_MARKDOWN).read_text()
    assert report.markdown(results.read(ROOT / "results" / "findings" / finding / results.BENCH)) == written
    rows = re.findall(r"^\| (?:8x8|32x32) .*$", README, flags=re.MULTILINE)
    assert rows
    assert set(rows) <= set(written.splitlines())


def test_the_examples_of_the_readme_are_in_the_guide():
    assert set(examples(README).values()) < set(examples(GUIDE).values())
