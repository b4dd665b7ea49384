"""Whatever kills a command, and whatever its workers are doing then, nothing of it lives ten seconds later."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import survival
from harness import run
from harness.launching import launch, parent_watch
from harness.records import paths
from harness.records.run import Run
from support.helpers import KEYS, keys, rarely
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10.0
"""How long a process may outlive its parent."""

STUBBORN = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Identity

def in_c():
    sum(range(10**12))  # keeps the interpreter's lock, and looks at no signal

def blocking():
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    while True:
        time.sleep(1000)

def ignoring():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass

def threads():
    threading.Thread(target=blocking).start()  # no daemon: the interpreter waits for it in the end
    raise RuntimeError

def children():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], stdin=subprocess.DEVNULL)
    ignoring()

@SHORTCUT.register("stubborn", "does not end")
class Stubborn(Identity):
    def forward(self, x, branch):
        Path(os.environ["STUCK"]).touch()
        globals()[os.environ["HOW"]]()
"""


def stuck(tmp_path, monkeypatch, how, sweep=True):
    """Start a command whose workers get stuck in this way, and return it and its results once they are."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("STUCK", str(tmp_path / "stuck"))
    monkeypatch.setenv("HOW", how)
    results = tmp_path / "results"
    several = ["-m", "seed=0,1", "launcher.workers=2"] if sweep else []
    command = survival.start(results, ["plugins=[stubborn]", "shortcut=stubborn", "depth=8", *KEYS, *several], tmp_path)
    until((tmp_path / "stuck").exists)
    return command, results


@pytest.mark.parametrize(
    ("how", "sweep"),
    [
        ("in_c", True),
        *rarely(("in_c", False)),
        ("ignoring", True),
        pytest.param("blocking", True, marks=pytest.mark.slow),
        *rarely(("blocking", False)),
        pytest.param("children", True, marks=pytest.mark.slow),
        pytest.param("threads", False, marks=pytest.mark.slow),
    ],
)
def test_nothing_outlives_a_killed_command_whatever_its_workers_do(how, sweep, tmp_path, monkeypatch):
    command, results = stuck(tmp_path, monkeypatch, how, sweep)
    assert survival.family(results)
    command.kill()
    command.wait()
    assert not survival.wait_gone(results, SECONDS)


@pytest.mark.parametrize("victim", ["harness.worker"])
def test_nothing_outlives_a_command_one_of_whose_processes_was_killed_before(victim, tmp_path, monkeypatch):
    command, results = stuck(tmp_path, monkeypatch, "in_c")
    pids = [pid for pid in survival.family(results) if victim in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(pids[0], signal.SIGKILL)
    command.kill()
    command.wait()
    assert not survival.wait_gone(results, SECONDS)


def test_a_second_ctrl_c_ends_a_command_at_once_whose_workers_hang(tmp_path, monkeypatch):
    command, results = stuck(tmp_path, monkeypatch, "in_c")
    command.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert command.poll() is None  # the first one waits for the step's end
    for _ in range(10):  # one that comes before the first was seen does not count
        command.send_signal(signal.SIGINT)
        with suppress(AssertionError):
            until(lambda: "stopped; " in results.with_suffix(".log").read_text(), 3)
            break
    assert command.wait(30) == 130
    assert not survival.wait_gone(results, SECONDS)
    assert "Traceback" not in results.with_suffix(".log").read_text()


def test_a_worker_that_does_not_leave_when_asked_is_killed_and_its_run_is_interrupted(tmp_path, monkeypatch):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.setenv("STUCK", str(tmp_path / "stuck"))
    monkeypatch.setenv("HOW", "in_c")
    monkeypatch.setattr(launch, "STOP_SECONDS", 1.0)

    def interrupt():
        until((tmp_path / "stuck").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run.main(["plugins=[stubborn]", "shortcut=stubborn", "depth=8", *KEYS, f"results={tmp_path / 'results'}"]) == 130
    thread.join()
    (folder,) = (tmp_path / "results" / paths.RUNS).iterdir()
    assert Run(folder).state_now == "interrupted"


@pytest.mark.parametrize("delay", [0.3, 1.0, 1.5, 2.0])
def test_nothing_outlives_a_single_run_killed_while_it_starts(delay, tmp_path):
    results = tmp_path / "results"
    command = survival.start(results, keys("depth=8", "schedule.steps=100000"))
    until(lambda: survival.family(results))
    time.sleep(delay)
    command.kill()
    command.wait()
    assert not survival.wait_gone(results, SECONDS)


def test_endless_steps_end_with_the_command_and_take_no_memory(tmp_path):
    results = tmp_path / "results"
    command = survival.start(results, keys("depth=8", "schedule.steps=1000000000", "checkpoint_minutes=0"))
    until(lambda: list(results.glob(f"runs/*/{paths.CHECKPOINT}")))
    time.sleep(1.0)
    kib = [_resident(pid) for pid in survival.family(results)]
    assert max(kib) < 2 * 2**20
    command.kill()
    command.wait()
    assert not survival.wait_gone(results, SECONDS)
    (folder,) = (results / paths.RUNS).iterdir()
    assert Run(folder).state_now == "interrupted"
    assert (folder / paths.CHECKPOINT).is_file()


def _resident(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_bench_child_that_hangs_ends_with_its_parent(tmp_path):
    code = (
        "import subprocess, sys\n"
        "from harness.launching.parent_watch import kill_after_input_ends\n"
        "kill_after_input_ends()\n"
        "print('ready', flush=True)\n"
        "sum(range(10**12))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), survival.MARK: str(tmp_path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == b"ready\n"
        asked = time.monotonic()
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGKILL
        took = time.monotonic() - asked
    assert parent_watch.GRACE <= took <= SECONDS
    assert not survival.wait_gone(tmp_path, 2)
