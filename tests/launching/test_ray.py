"""Sweeps on a real Ray of two virtual nodes: whatever happens to a task, no run is lost and every number stays the same."""

import signal
import tempfile
import time
from pathlib import Path

import pytest

from benchmarks import survival
from harness.records import paths
from harness.records.run import Run
from support import raylets
from support.clusters import FOUR, HALF, KEYS, kill_one, log, training
from support.waiting import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not raylets.is_installed(), reason="needs the package ray"),
]


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="ray") as folder, raylets.raylets(Path(folder)) as running:
        yield running


@pytest.fixture
def launch(cluster, tmp_path):
    """Return a function that starts a sweep on the cluster, with its results."""
    results = tmp_path / "results"

    def start(*keys, sweep=FOUR):
        return survival.start(results, [*sweep, "launcher=ray", f"launcher.address={cluster.address}", *keys]), results

    yield start
    survival.end_all()


def kill_worker(cluster):
    kill_one("-f", "python -m harness.worker --attached")


def kill_task(cluster):
    kill_one("-f", "^ray::work")


def kill_node(cluster):
    cluster.kill_node()
    cluster.start_node()


@pytest.mark.parametrize("event", [kill_worker, kill_task, kill_node])
def test_a_task_that_is_lost_goes_on_to_the_same_bits(event, cluster, launch, undisturbed):
    command, results = launch()
    until(lambda: len(training(results)) >= 3)
    event(cluster)
    assert command.wait(400) == 0
    assert survival.numbers(results) == undisturbed
    assert "Traceback" not in log(results)


def test_ctrl_c_saves_what_runs(launch):
    command, results = launch(sweep=["-m", "depth=8", "seed=range(6)", "schedule.steps=100000", *KEYS])
    until(lambda: len(training(results)) == 4)
    asked = time.monotonic()
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130
    assert time.monotonic() - asked < 20
    states = [Run(folder).state for folder in (results / paths.RUNS).iterdir()]
    assert sorted(states) == ["interrupted"] * 4 + ["waiting"] * 2


def test_the_same_command_goes_on_after_one_that_was_killed(launch, undisturbed):
    command, results = launch()
    until(lambda: len(training(results)) >= 3)
    command.kill()
    command.wait()
    again, _ = launch()
    assert again.wait(300) == 0
    assert survival.numbers(results) == undisturbed


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path):
    results = tmp_path / "results"
    keys = ["launcher=ray", "launcher.address=127.0.0.1:1", "depth=8", "schedule.steps=10", *KEYS]
    assert survival.start(results, keys).wait(120) == 1
    assert log(results).splitlines()[-1].startswith("harness.run: launcher.address=127.0.0.1:1: ")
    assert "Traceback" not in log(results)


def test_a_plugin_travels_with_the_run(cluster, tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    sweep = ["plugins=[half]", "shortcut=half", "depth=8", "schedule.steps=10", *KEYS]
    arguments = [*sweep, "launcher=ray", f"launcher.address={cluster.address}"]
    assert survival.start(tmp_path / "results", arguments, tmp_path).wait(200) == 0
