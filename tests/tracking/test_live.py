"""Whatever a tracker does, the run has the same numbers, and its tables are on disk."""

import json
import time
from dataclasses import replace

import pytest

from harness import run as command
from harness.config.execution import ExecutionConfig
from harness.config.registry import TRACKER, ChoiceError
from harness.config.run import GradientNorms
from harness.records import paths
from harness.records.run import Run
from harness.tracking import live
from harness.tracking.scalars import scalars
from harness.training.loop import Training
from harness.training.train import RunFailed, train
from support.helpers import keys, tiny
from support.interruption import files, interrupt
from support.trackers import on_disk

CONFIG = tiny(gradient_norms=GradientNorms.every)


class Journal:
    """A tracker that writes a line for each row."""

    def __init__(self, folder, name, choices):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / name).open("w")

    def write(self, rows):
        for row in rows:
            print(json.dumps(row), file=self.file, flush=True)

    def close(self, state):
        print(json.dumps(state), file=self.file)
        self.file.close()


class Raises:
    """A tracker of which one method raises; SystemExit is what a careless library ends with."""

    guilty = ""

    def __init__(self, *given):
        self.act("__init__")

    def write(self, rows):
        self.act("write")

    def close(self, state):
        self.act("close")

    def act(self, method):
        if method == self.guilty:
            raise SystemExit(f"in {method}")


class Hangs(Raises):
    def act(self, method):
        if method == self.guilty:
            time.sleep(600)


@pytest.fixture
def use(monkeypatch):
    """Return a function that makes a class the tracker `mine`, and returns CONFIG with that tracker."""
    monkeypatch.setattr(live, "PERIOD", 0.01)

    def register(kind, config=CONFIG):
        monkeypatch.setitem(TRACKER.sentences, "mine", "")
        monkeypatch.setitem(TRACKER._implementations, "mine", kind)
        return replace(config, execution=replace(config.execution, tracker="mine"))

    return register


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the run of CONFIG without a tracker."""
    return train(CONFIG, tmp_path_factory.mktemp("plain"))


def journal(run):
    """Return {name: [(step, value), ...]} of a journal, without `seconds`, and its last line, the state."""
    *rows, state = map(json.loads, (run.folder.parent.parent / paths.TRACKING / "mine" / run.name).read_text().splitlines())
    points = {}
    for step, values in rows:
        for name, value in values.items():
            points.setdefault(name, []).append((step, value))
    del points["epochs/seconds"]
    return points, state


@pytest.mark.parametrize("method", ["__init__", "write", "close"])
def test_a_tracker_that_raises_costs_one_warning(use, method, plain, tmp_path):
    run = train(use(type("Bad", (Raises,), {"guilty": method})), tmp_path)
    assert files(run) == files(plain)
    log = (run.folder / paths.LOG).read_text()
    assert log.count("tracker=mine: ") == log.count(f"failed (TrackerError: SystemExit: in {method}); dropped") == 1


@pytest.mark.parametrize("method", ["__init__", "write", "close"])
def test_a_tracker_that_hangs_costs_one_warning_and_the_patience(use, method, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    run = train(use(type("Stuck", (Hangs,), {"guilty": method})), tmp_path)
    assert files(run) == files(plain)
    log = (run.folder / paths.LOG).read_text()
    assert log.count("tracker=mine: ") == log.count("it has not ended after 0.2 s; its last rows may be missing") == 1


def test_the_rows_that_wait_for_a_tracker_are_bounded(use, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "QUEUE", 5)
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    run = train(use(type("Stuck", (Hangs,), {"guilty": "__init__"})), tmp_path)
    assert files(run) == files(plain)
    log = (run.folder / paths.LOG).read_text()
    assert log.count("tracker=mine: ") == log.count("rows failed (TrackerError: it is slower than the training); dropped") == 1


def test_a_tracker_gets_every_number_of_the_tables_once(use, tmp_path):
    run = train(use(Journal), tmp_path)
    points, state = journal(run)
    assert (points, state) == (on_disk(run, norms_too=False), "done")
    assert {
        "steps/loss",
        "epochs/test_error",
        "layers/grad_norm/linear",
        "blocks/forward_norm/stem",
    } < set(points)


def test_a_diverged_run_tracks_what_its_tables_keep(use, tmp_path):
    config = replace(CONFIG, norm="none", schedule=replace(CONFIG.schedule, learning_rate=1e9, eval_every=1))
    run = train(use(Journal, config), tmp_path)
    assert run.state == "diverged"
    assert journal(run) == (on_disk(run, norms_too=False), "diverged")


def test_a_run_that_fails_after_its_checkpoint_is_tracked_from_the_checkpoint_on(use, plain, tmp_path, monkeypatch):
    config = use(Journal)
    interrupt(config, tmp_path, 4, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "_end_epoch", lambda *_: 1 / 0)
        with pytest.raises(RunFailed):
            train(config, tmp_path)
    failed = Run(paths.run_folder(tmp_path, config.run_name()))
    assert len(failed.steps) > 4  # its tables have rows that the resumed run repeats
    run = train(config, tmp_path)
    assert files(run) == files(plain)
    assert journal(run) == (on_disk(run, norms_too=False), "done")


def test_rows_are_on_disk_at_every_checkpoint(plain, tmp_path, monkeypatch):
    interrupt(CONFIG, tmp_path, 5, monkeypatch)
    stopped = Run(paths.run_folder(tmp_path, CONFIG.run_name()))
    assert not stopped.finished()
    assert stopped.steps.equals(plain.steps.head(len(stopped.steps)))
    assert 0 < len(stopped.steps) < len(plain.steps)
    norms, whole = on_disk(stopped)["gradient_norms/linear"], on_disk(plain)["gradient_norms/linear"]
    assert norms == whole[: len(stopped.steps)]
    assert stopped.layers.equals(plain.layers.head(len(stopped.layers)))
    assert not (stopped.folder / paths.EPOCHS).exists()  # no evaluation yet


def test_a_tracker_is_no_part_of_what_a_run_is():
    assert tiny(execution=ExecutionConfig(tracker="mlflow")).run_name() == tiny().run_name()


def test_an_unknown_tracker_is_refused():
    with pytest.raises(ChoiceError, match=r"tracker=tensorbord: unknown; allowed: none, .*; did you mean tensorboard\?"):
        ExecutionConfig(tracker="tensorbord")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["tracker=wandb"], "wandb: needs a package that is not installed: python -m pip install -e '.[wandb]'"),
        (["-m", "tracker=wandb,none"], "a sweep has one tracker"),
    ],
)
def test_a_sweep_that_cannot_be_tracked_is_refused(given, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.tracking.find_spec", lambda name: None)
    assert command.main([*given, *keys("depth=8")]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "results" / "runs").exists()


def test_scalars_are_finite_numbers_named_by_table_column_and_module():
    rows = [
        {"step": 1, "layer": 1, "name": "stem.conv", "kind": "conv", "grad_norm": 2.0, "update_norm": None},
        {"step": 1, "layer": 2, "name": "head", "kind": "linear", "grad_norm": float("inf"), "update_norm": 3},
        {"step": 2, "layer": 1, "name": "stem.conv", "kind": "conv", "grad_norm": float("nan"), "update_norm": 4.0},
    ]
    assert list(scalars("layers", rows)) == [
        (1, {"layers/grad_norm/stem.conv": 2.0, "layers/update_norm/head": 3.0}),
        (2, {"layers/update_norm/stem.conv": 4.0}),
    ]
