"""Sweeps on a real Slurm of two virtual nodes: whatever happens to a task, no run is lost and every number stays the same."""

import random
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import survival
from harness.records import paths
from harness.records.run import Run
from support import slurm
from support.clusters import HALF, KEYS, kill_one, log, training
from support.waiting import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not slurm.is_installed(), reason="needs root, slurmctld, slurmd and munge"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def requeue(cluster):
    cluster("scontrol", "requeue", random.choice(cluster.tasks("RUNNING")))


def cancel_running(cluster):
    cluster("scancel", random.choice(cluster.tasks("RUNNING")))


def preempt(cluster):
    cluster("sbatch", "-p", "high", "-N", "2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")


def kill_worker(cluster):
    kill_one("-f", "python -m harness.worker /")


def kill_step_daemon(cluster):
    kill_one("-x", "slurmstepd")


def restart_node(cluster):
    """Kill a node's daemon; what runs there goes on."""
    node = random.choice(["n1", "n2"])
    cluster.kill(node)
    cluster.start_node(node)


EVENTS = {event.__name__: event for event in (requeue, cancel_running, preempt, kill_worker, kill_step_daemon, restart_node)}


@pytest.mark.parametrize("event", EVENTS)
def test_a_task_that_is_disturbed_goes_on_to_the_same_bits(event, cluster, launch, undisturbed):
    """Tasks that are asked to end save, although the next checkpoint is an hour away."""
    asked = event in ("requeue", "cancel_running", "preempt")
    command, results = launch(*(["checkpoint_minutes=60"] if asked else []))
    until(lambda: len(training(results)) == 2)
    EVENTS[event](cluster)
    assert command.wait(400) == 0
    assert survival.numbers(results) == undisturbed
    assert "Traceback" not in log(results)
    if asked:
        assert any("resumed_from_step" in Run(folder).status for folder in (results / paths.RUNS).iterdir())


def test_a_time_limit_costs_only_the_time_to_save(cluster, launch):
    """Slurm's least limit is a minute; a single run of more than that is saved, queued again and resumed."""
    sweep = ["-m", "depth=20", "schedule.steps=6000", *KEYS]
    command, results = launch("launcher.minutes=1", "launcher.grace_seconds=30", "checkpoint_minutes=60", sweep=sweep)
    until(lambda: training(results))
    (run,) = training(results)
    until(lambda: run.state == "interrupted" or "resumed_from_step" in run.status)
    until(lambda: "resumed_from_step" in run.status)
    assert run.status["resumed_from_step"][0] > 0
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130


def test_ctrl_c_cancels_what_is_pending_and_saves_what_runs(cluster, launch):
    command, results = launch("launcher.workers=6", sweep=["-m", "depth=8", "seed=range(6)", "schedule.steps=100000", *KEYS])
    until(lambda: len(training(results)) == 4 and cluster.tasks("PENDING"))
    asked = time.monotonic()
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130
    assert time.monotonic() - asked < 15
    until(lambda: not cluster.tasks(), 15)
    states = [Run(folder).state for folder in (results / paths.RUNS).iterdir()]
    assert sorted(states) == ["interrupted"] * 4 + ["waiting"] * 2


def test_ctrl_c_while_a_task_sets_up_starts_no_worker(cluster, launch):
    command, results = launch("launcher.setup=['sleep 30']")
    until(lambda: len(cluster.tasks("RUNNING")) == 2)
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == 130
    until(lambda: not cluster.tasks(), 30)
    assert {Run(folder).state for folder in (results / paths.RUNS).iterdir()} == {"waiting"}


def test_a_pending_task_that_is_cancelled_is_noticed(cluster, launch, undisturbed):
    options = ["--parsable", "-p", "high", "-N", "2", "--exclusive", "--output=/dev/null"]
    blocker = cluster("sbatch", *options, "--wrap", "sleep 20").strip()
    until(lambda: cluster("squeue", "--noheader", "-j", blocker, "-o", "%T").strip() == "RUNNING")
    command, results = launch()
    until(lambda: len(cluster.tasks("PENDING")) == 2)
    pending = cluster.tasks("PENDING")
    cluster("scancel", pending[0])
    until(lambda: len(set(cluster.tasks()) - set(pending)) == 1)  # another task replaces it, within a minute
    assert command.wait(300) == 0
    assert survival.numbers(results) == undisturbed


def test_the_same_command_takes_up_the_tasks_of_one_that_was_killed(cluster, launch, undisturbed):
    command, results = launch()
    until(lambda: len(training(results)) == 2)
    tasks = cluster.tasks()
    command.kill()
    command.wait()
    again, _ = launch()
    until(lambda: "2 task(s) of an earlier command are in the queue" in log(results))
    assert set(cluster.tasks()) <= set(tasks)
    assert again.wait(300) == 0
    assert survival.numbers(results) == undisturbed


def test_a_wrong_partition_is_one_sentence(launch):
    command, results = launch("launcher.partition=nowhere")
    assert command.wait(60) == 1
    assert log(results).splitlines()[-1].startswith("harness.run: sbatch: error: ")
    assert "Traceback" not in log(results)


def test_tasks_that_cannot_start_are_given_up_and_their_log_is_named(launch):
    command, results = launch("launcher.setup=['exit 1']")
    assert command.wait(200) == 1
    folder = next(results.glob(f"{paths.SWEEPS}/*/{paths.SLURM}"))
    assert f"workers ended 3 times without training a run; the logs of the tasks are in {folder}" in log(results)
    assert list(folder.glob("*.log"))


def test_submit_and_walk_away(cluster, launch, undisturbed):
    command, results = launch("launcher.wait=false")
    assert command.wait(120) == 0
    assert "harness.status" in log(results)
    until(lambda: not cluster.tasks(), 300)
    until(lambda: list(results.glob(f"{paths.SWEEPS}/*/{paths.REPORT_HTML}")), 120)
    assert survival.numbers(results) == undisturbed


def test_a_gpu_is_looked_for_where_the_run_is(launch):
    """A login node without a GPU submits runs for one; these nodes have none, so each run says that itself."""
    command, results = launch("launcher.gpus=0", "device=cuda", sweep=["depth=8", "schedule.steps=10", *KEYS[:1]])
    assert command.wait(200) == 1
    (folder,) = (results / paths.RUNS).iterdir()
    assert Run(folder).state == "failed"
    assert "NVIDIA" in Run(folder).status["error"]


def test_tasks_on_one_node_have_a_gpu_each(launch, undisturbed):
    setup = "launcher.setup=['echo GPU $CUDA_VISIBLE_DEVICES']"
    command, results = launch("launcher.gpus=1", "launcher.options=['--nodelist=n1']", setup)
    assert command.wait(300) == 0
    logs = [path.read_text() for path in results.glob(f"{paths.SWEEPS}/*/{paths.SLURM}/*.log")]
    assert {line for text in logs for line in text.splitlines() if line.startswith("GPU")} == {"GPU 0", "GPU 1"}
    assert survival.numbers(results) == undisturbed


def test_a_plugin_travels_with_the_run(launch, tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    sweep = ["plugins=[half]", "shortcut=half", "depth=8", "schedule.steps=10", *KEYS]
    results = tmp_path / "results"
    arguments = [*sweep, "launcher=slurm", "launcher.setup=[unset PYTHONPATH]"]
    assert survival.start(results, arguments, tmp_path).wait(200) == 0


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_soak_of_twenty_random_events_loses_nothing(cluster, launch):
    sweep = ["-m", "depth=8,14", "shortcut=none,identity", "seed=0,1", "schedule.steps=2500", *KEYS]
    random.seed(1)
    command, results = launch(sweep=sweep)
    events = 0
    while command.poll() is None and events < 20:
        until(lambda command=command: command.poll() is not None or len(training(results)) == 2)
        time.sleep(random.uniform(1, 4))
        if command.poll() is None and cluster.tasks("RUNNING"):
            name = random.choice([*EVENTS, "parent"])
            if name == "parent":
                command.kill()
                command.wait()
                command, _ = launch(sweep=sweep)
            else:
                EVENTS[name](cluster)
            events += 1
            status = [sys.executable, "-m", "harness.status", *map(str, results.glob(f"{paths.SWEEPS}/*"))]
            assert subprocess.run(status, capture_output=True, check=False).returncode == 0
    assert command.wait(600) == 0
    alone = results.with_name("undisturbed")
    assert survival.start(alone, sweep).wait(600) == 0
    assert events == 20
    assert survival.numbers(results) == survival.numbers(alone)
