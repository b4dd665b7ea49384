"""A search: its trials are runs, an interrupted one ends like an undisturbed one, and what cannot be searched is refused."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import report, search, status, verify
from harness.records import paths
from support.helpers import keys
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TINY = keys("depth=8", "schedule.steps=2", "schedule.eval_every=2")
RATES = "schedule.learning_rate=tag(log,interval(0.001,0.1))"
needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="no Optuna: make test-extras")


def without(rate):
    return [word for word in TINY if not (rate and word.startswith("schedule.learning_rate="))]


def command(results, *given):
    rate = any(word.startswith("schedule.learning_rate=") for word in given)
    return [*given, *without(rate), f"results={results}"]


def record(results):
    (path,) = (results / paths.SWEEPS).glob(f"*/{paths.SWEEP}")
    return json.loads(path.read_text())


def in_a_process(results, *given, **options):
    arguments = [sys.executable, "-m", "harness.search", *command(results, *given)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{results.parent}"}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_search_without_optuna_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search.main(["depth=8,14"]) == 2
    assert capsys.readouterr().err == "harness.search: optuna is not installed; python -m pip install -e '.[search]'\n"


@needs_optuna
@pytest.mark.extras
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["width=4"], "nothing to search"),
        (["-n", "0", "width=4,8"], "-n 0: must be a whole number from 1"),
        (["--sampler-seed", "-1", "width=4,8"], "--sampler-seed -1: must be a whole number from 0"),
        (["--objective", "status", "width=4,8"], "--objective=status: unknown; allowed: train_error"),
        (["depth=range(8,11)"], "depth=9: this family has depth 6n+2; nearest are 8 and 14"),
        (["width=4,8", "width"], "width: type width=VALUE"),
        (["width=4,8", "hydra/sweeper=optuna"], "Hydra's own settings cannot be set here"),
        (["width=4,8", "launcher=slurm"], "launcher.workers=NUMBER"),
        (["width=4,8", "launcher=slurm", "launcher.wait=false"], "launcher.wait=false: a search waits for its runs"),
        (["launcher.workers=1,2", "width=4,8"], "a sweep has one launcher.workers"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_starts(given, words, tmp_path, capsys):
    assert search.main([*given, f"results={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_optuna
@pytest.mark.extras
def test_trials_are_runs_and_every_command_reads_them(tmp_path, capsys):
    assert search.main(["-n", "3", *command(tmp_path, RATES, "shortcut=none,identity", "launcher=inline")]) == 0
    found = record(tmp_path)
    assert found["search"] | {"optuna": ""} == {
        **{"objective": "test_error", "sampler": "TPESampler", "seed": 0, "batch": 1, "optuna": ""}
    }
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE"] * 3
    assert {trial["run"] for trial in found["trials"]} == set(found["runs"])
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    for trial in found["trials"]:
        config = json.loads((paths.run_folder(tmp_path, trial["run"]) / paths.CONFIG).read_text())
        rate, shortcut = config["schedule"]["learning_rate"], config["shortcut"]
        assert trial["parameters"] == {"schedule.learning_rate": rate, "shortcut": shortcut}
        assert 0.001 <= rate <= 0.1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"{paths.RUNS}/*/{paths.STATUS}")}
    assert search.main(["-n", "4", *command(tmp_path, RATES, "shortcut=none,identity", "launcher=inline")]) == 0
    assert record(tmp_path)["trials"][:3] == found["trials"]
    assert len(record(tmp_path)["trials"]) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "no run is trained twice"
    (folder / paths.REPORT_MARKDOWN).unlink()
    assert report.main([str(folder)]) == status.main([str(folder)]) == verify.main([str(folder), "--runs", "1"]) == 0
    text = (folder / paths.REPORT_MARKDOWN).read_text()
    table = text.partition("## Trials")[2].partition("\n## ")[0]
    values = [float(line.split("|")[2]) for line in table.splitlines() if "| COMPLETE |" in line]
    assert values == sorted(values)
    assert "Objective: the least test_error" in table
    assert "TPESampler with seed 0" in table
    assert "Nothing was selected on the test images" not in text
    assert "| Hyper-parameters: how chosen? | searched |" in text


@needs_optuna
@pytest.mark.extras
@pytest.mark.timeout(900)
def test_a_search_that_is_killed_ends_with_the_trials_of_an_undisturbed_one(tmp_path):
    """SIGKILL while the second batch is trained, after the trials of the first one have values."""
    given = ["-n", "3", RATES, "launcher.workers=2", "threads=1"]
    with in_a_process(tmp_path / "whole", *given) as whole:
        _, message = whole.communicate()
    assert whole.returncode == 0, message
    with in_a_process(tmp_path / "cut", *given) as cut:
        sweeps = tmp_path / "cut" / paths.SWEEPS
        until(lambda: list(sweeps.glob(f"*/{paths.SWEEP}")) and len(record(tmp_path / "cut")["trials"]) == 3, 300)
        cut.kill()
    assert [trial["state"] for trial in record(tmp_path / "cut")["trials"]] == ["COMPLETE", "COMPLETE", "RUNNING"]
    with in_a_process(tmp_path / "cut", *given) as again:
        _, message = again.communicate()
    assert again.returncode == 0, message
    assert record(tmp_path / "cut")["trials"] == record(tmp_path / "whole")["trials"]


BROKEN = """
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Shortcut


@SHORTCUT.register("broken", "fails")
class Broken(Shortcut):
    def forward(self, x, branch):
        raise RuntimeError("of its own")
"""


@needs_optuna
@pytest.mark.extras
def test_a_failed_run_is_a_failed_trial_and_is_not_repeated(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    given = ["-n", "4", "plugins=[broken]", "shortcut=identity,broken", "seed=0,1", "launcher=inline"]
    found = []
    for _ in range(2):
        process = in_a_process(tmp_path / "results", *given)
        _, message = process.communicate(timeout=200)
        assert process.returncode == 1, message
        found.append(record(tmp_path / "results")["trials"])
    assert found[0] == found[1]
    assert message.count("of its own") == 0, "the second time nothing is trained"
    states = {(trial["parameters"]["shortcut"], trial["state"]) for trial in found[0]}
    assert states == {("identity", "COMPLETE"), ("broken", "FAIL")}
    assert all((trial["value"] is None) == (trial["state"] == "FAIL") for trial in found[0])


@needs_optuna
@pytest.mark.extras
def test_a_diverged_run_scores_a_guess(tmp_path):
    """Without norms a step of 1e30 leaves no finite loss; nine guesses of ten digits are wrong."""
    rates = "schedule.learning_rate=interval(1e30,1e31)"
    assert search.main(["-n", "1", "--objective", "batch_error", *command(tmp_path, rates, "norm=none", "launcher=inline")]) == 0
    (trial,) = record(tmp_path)["trials"]
    assert (trial["value"], trial["state"]) == (90.0, "COMPLETE")
    assert json.loads((paths.run_folder(tmp_path, trial["run"]) / paths.STATUS).read_text())["state"] == "diverged"


@needs_optuna
@pytest.mark.extras
def test_a_trial_whose_choices_are_refused_fails_alone(tmp_path):
    """A space too large to be checked beforehand: of depths 8 to 14, only the two ends exist."""
    given = command(tmp_path, "depth=range(8,15)", "seed=range(1000)", "launcher=inline")
    assert search.main(["-n", "6", *[word for word in given if word != "depth=8"]]) in (0, 1)
    trials = record(tmp_path)["trials"]
    assert len(trials) == 6
    for trial in trials:
        assert (trial["state"] == "COMPLETE") == (trial["parameters"]["depth"] in (8, 14)) == (trial["run"] is not None)
