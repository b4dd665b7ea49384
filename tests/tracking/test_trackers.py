"""Every tracker, live and by export, read back with its own reader: each holds exactly the numbers of the run's tables."""

from dataclasses import replace

import numpy as np
import pytest

from harness import export
from harness import run as command
from harness.config.execution import ExecutionConfig
from harness.config.run import GradientNorms
from harness.records.run import Run
from harness.tracking import live
from harness.training.train import train
from support.helpers import keys, tiny, tiny_schedule
from support.interruption import interrupt
from support.trackers import on_disk, read

pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore")]  # trackers warn of their own future

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
CONFIG = tiny(schedule=tiny_schedule(steps=6, eval_every=3), gradient_norms=GradientNorms.every)


@pytest.fixture(params=TRACKERS)
def tracker(request, monkeypatch):
    pytest.importorskip(request.param)
    monkeypatch.setattr(live, "PATIENCE", 120.0)  # on a busy machine, importing a tracker alone takes long
    return request.param


def tracked(tracker, config=CONFIG):
    return replace(config, execution=ExecutionConfig(tracker=tracker))


def agree(tracker, folder, run, live=True):
    """Check that a tracker holds the numbers of a run's tables, rounded to float32 if the tracker does so, and nothing else."""
    expected = {tag: sorted(values) for tag, values in on_disk(run, norms_too=not live).items()}
    if tracker == "tensorboard":
        expected = {tag: [(step, float(np.float32(value))) for step, value in values] for tag, values in expected.items()}
    assert len(expected) > 50
    found = read(tracker, folder, run.name)
    assert found.keys() == expected.keys()
    assert found == expected


def test_a_live_tracker_holds_the_numbers_of_the_tables(tracker, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = train(tracked(tracker), tmp_path / "results")
    assert capfd.readouterr().out == ""
    agree(tracker, tmp_path / "results" / "tracking" / tracker, run)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert "dropped" not in (run.folder / "log.txt").read_text()


def test_a_resumed_run_has_each_point_once(tracker, tmp_path, monkeypatch):
    interrupt(tracked(tracker), tmp_path, 4, monkeypatch)
    run = train(tracked(tracker), tmp_path)
    assert run.status["resumed_from_step"] == [3]
    agree(tracker, tmp_path / "tracking" / tracker, run)


def test_a_diverged_run_has_the_points_of_its_tables(tracker, tmp_path):
    wild = replace(CONFIG, norm="none", schedule=tiny_schedule(learning_rate=1e9, eval_every=1))
    run = train(tracked(tracker, wild), tmp_path)
    assert run.state == "diverged"
    agree(tracker, tmp_path / "tracking" / tracker, run)


def test_two_exports_are_as_one(tracker, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run = train(CONFIG, tmp_path / "results")
    for _ in range(2):
        assert export.main([str(run.folder), "--to", tracker, "--out", "out"]) == 0
        assert capfd.readouterr().out == f"1 runs: {tmp_path / 'out'}\n"
    agree(tracker, tmp_path / "out", run, live=False)


def test_the_runs_of_a_sweep_are_tracked_side_by_side(tracker, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "patient.py").write_text("from harness.tracking import live\nlive.PATIENCE = 120.0\n")
    given = keys("depth=8,14", "plugins=[patient]", f"tracker={tracker}", f"results={tmp_path}")
    assert command.main(["-m", *given]) == 0
    runs = [Run(folder) for folder in (tmp_path / "runs").iterdir()]
    assert not [run for run in runs if f"tracker={tracker}" in (run.folder / "log.txt").read_text()]
    for run in runs:
        agree(tracker, tmp_path / "tracking" / tracker, run)
