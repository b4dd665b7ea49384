"""The README's examples do what it says, and its tables are those of the code."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from helpers import KEYS
from hydra import compose, initialize_config_dir

from harness import layout, run
from harness.config import SCHEDULES, DataConfig, RunConfig, ScheduleConfig
from harness.sweep import conf_folder, from_composed

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example(tmp_path):
    """Runs the README's own lines, its run shortened."""
    example = next(code for code in PYTHON if "harness.train" in code)
    short = "from harness import *; import dataclasses, harness.config as c\n"
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
    """The README's class in a file, swept beside the built-in one by parallel workers."""
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
        return {folder.name: (folder / layout.STEPS).read_bytes() for folder in folders}

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
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for data in SCHEDULES:
            config, results = from_composed(compose("config", [f"data={data}"]))
            assert config.schedule == SCHEDULES[data]
            assert config == RunConfig(data=DataConfig(data, root=config.data.root))
            assert results == "results"
        warm, _ = from_composed(compose("config", ["data=cifar10", "schedule=cifar10_warmup"]))
        assert warm.schedule == ScheduleConfig(warmup="until_error")


def test_every_key_is_in_the_readme_and_commented_in_conf():
    table = README.split("## The command")[1].split("## Where things are")[0]
    for config in (RunConfig, DataConfig, ScheduleConfig):
        for field in fields(config):
            assert any(f"`{before}{field.name}" in table for before in ("", ".", "data.")) or field.name == "name", field.name
    for path in conf_folder().rglob("*.yaml"):
        lines = path.read_text().splitlines()
        assert any(line.startswith("#") and len(line) > 15 for line in lines), path
    config = (conf_folder() / "config.yaml").read_text().splitlines()
    for number, line in enumerate(config):
        if re.match(r"[a-z]+: ", line):
            assert config[number - 1].startswith("# "), line


def test_every_file_of_a_run_is_in_the_readme(tmp_path):
    assert run.main(["depth=8", *KEYS, f"results={tmp_path}"]) == 0
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.parent.name != layout.FIGURES:
            assert f"`{path.name}`" in README, path.name


FINDINGS = sorted((ROOT / "results" / "findings").glob("*/"))
SWEEPS = [finding for finding in FINDINGS if (finding / layout.SWEEP).is_file()]


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda path: path.name)
def test_a_finding_is_small_and_says_what_it_found(finding):
    """Every other one than a sweep has a README.md that holds its command, what was expected, seen, and against expectation."""
    assert sum(path.stat().st_size for path in finding.rglob("*")) < 5 * 2**20
    if finding not in SWEEPS:
        headings = re.findall(r"^## (.*)$", (finding / "README.md").read_text(), flags=re.MULTILINE)
        assert headings == ["Command", "What was expected", "What was seen", "What went against expectation"]


@pytest.mark.parametrize("finding", SWEEPS, ids=lambda path: path.name)
def test_a_sweep_kept_as_a_finding_rebuilds_its_table_from_its_runs(finding, tmp_path):
    from harness.tables import Tables

    written = pd.read_csv(finding / layout.RUNS_TABLE, keep_default_na=False, dtype=str)
    Tables(finding).runs_table.to_csv(tmp_path / "again.csv", index=False)
    again = pd.read_csv(tmp_path / "again.csv", keep_default_na=False, dtype=str)
    assert again[list(written.columns)].equals(written)  # a key that came later has a column of its default


def test_the_readme_shows_the_numbers_of_its_finding():
    (name,) = {
        name for name in re.findall(r"results/findings/(\d[^/)\s\]]+)", README) if ROOT / "results/findings" / name in SWEEPS
    }
    table = pd.read_csv(ROOT / "results" / "findings" / name / layout.RUNS_TABLE, keep_default_na=False)
    for row in table.itertuples():
        shown = [line.split() for line in README.splitlines() if row.run in line]
        assert shown, row.run
        assert float(shown[0][3]) == pytest.approx(row.train_error, rel=1e-3)
        assert float(shown[0][4]) == pytest.approx(row.test_error, rel=1e-3)
