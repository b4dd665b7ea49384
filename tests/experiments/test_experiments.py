"""Every experiment of conf/experiment has a module, and a tiny version of it runs through the real command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import registry
from harness.config.conf import choices_of, conf_folder
from harness.planning.sweep import plan
from harness.records import paths
from support.helpers import KEYS

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name in choices_of("experiment") if name != "none"]
TINY = ["depth=8,14", "seed=0", *(key for key in KEYS if not key.startswith("schedule.learning_rate"))]
SPECIAL = {
    "identity_construction": ["depth=14", "start_from=none,8"],
    "degradation_laptop": ["data=digits", "schedule.warmup_steps=2"],
}
"""Keys that a tiny experiment needs besides TINY, or instead of its values."""


def small(name):
    """Return the keys that make an experiment tiny."""
    special = SPECIAL.get(name, [])
    given = {line.partition("=")[0] for line in special}
    return [*(line for line in TINY if line.partition("=")[0] not in given), *special]


def test_every_experiment_is_declared_and_every_declared_one_can_be_run():
    assert set(NAMES) == set(registry())


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_says_what_it_costs_and_what_it_can_show(name):
    comment = [line for line in (conf_folder() / "experiment" / f"{name}.yaml").read_text().splitlines() if line.startswith("# ")]
    text = " ".join(line[2:] for line in comment)
    for words in ("two cores", "GPU", "igits"):
        assert words in text, words
    assert "TODO" not in text


@pytest.mark.parametrize("name", NAMES)
def test_keys_on_the_command_line_win(name, tmp_path):
    planned = plan([f"experiment={name}", *small(name), f"results={tmp_path}"], True, ["command"])
    assert {config.width for config in planned.configs} == {4}
    assert {config.schedule.steps for config in planned.configs} == {12}
    assert len(planned.configs) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_runs_tiny_through_the_command_line(name, tmp_path):
    arguments = ["-m", f"experiment={name}", *small(name), f"results={tmp_path}"]
    command = [sys.executable, "-m", "harness.run", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    experiment = registry()[name]
    assert experiment.question in (folder / paths.REPORT_MARKDOWN).read_text()
    assert {path.stem for path in (folder / paths.FIGURES).iterdir()} >= {experiment.pictures[0].name}
    said = {one["claim"] for one in json.loads((folder / paths.VERDICTS).read_text())["verdicts"]}
    assert said >= {claim.id for claim in experiment.claims}
