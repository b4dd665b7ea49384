"""Results that are moved, removed, read-only or full during a sweep: it ends, says so, and hears Ctrl-C whatever happened."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import survival
from harness.records import paths
from harness.records.run import Run
from support.helpers import keys, rarely
from support.waiting import until

SWEEP = ["-m", *keys("depth=8", "seed=0,1,2,3", "schedule.steps=20000", "launcher.workers=2")]
SINGLE = keys("depth=8", "schedule.steps=20000")


def begun(results, arguments):
    """Start a command, and return it once its runs are being trained."""
    command = survival.start(results, arguments)
    several = 2 if arguments is SWEEP else 1
    until(lambda: sum('"loss"' in text(path) for path in results.glob("runs/*/status.json")) == several)
    return command


def text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def said(results):
    return results.with_suffix(".log").read_text()


@pytest.mark.parametrize("arguments", [SWEEP, SINGLE], ids=["sweep", "single"])
@pytest.mark.parametrize("number", [signal.SIGINT, *rarely(signal.SIGTERM)])
def test_ctrl_c_is_heard_after_results_were_moved_away(number, arguments, tmp_path):
    results = tmp_path / "results"
    command = begun(results, arguments)
    results.rename(tmp_path / "elsewhere")
    command.send_signal(number)
    assert command.wait(timeout=15) == 130
    assert not survival.wait_gone(results, 10)
    assert "Traceback" not in said(results)
    assert "was moved or removed while its runs were trained" in said(results)
    assert not results.exists()
    (tmp_path / "elsewhere").rename(results)
    assert {Run(folder).state_now for folder in (results / paths.RUNS).iterdir()} <= {"interrupted", "waiting"}


@pytest.mark.parametrize("how", ["moved", "a file in its place", *rarely("removed", "another folder in its place")])
def test_a_sweep_ends_by_itself_when_its_results_are_gone(how, tmp_path):
    results = tmp_path / "results"
    command = begun(results, SWEEP)
    results.rename(tmp_path / "elsewhere")
    if how == "removed":
        shutil.rmtree(tmp_path / "elsewhere")
    elif how == "a file in its place":
        results.touch()
    elif how == "another folder in its place":
        (results / paths.RUNS).mkdir(parents=True)
    assert command.wait(timeout=15) == 1
    assert not survival.wait_gone(results, 10)
    assert "Traceback" not in said(results)
    last = said(results).splitlines()[-1]
    assert last.startswith(f"harness.run: {results}: it, or the sweep in it, was moved or removed while its runs were trained")


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are dropped by root alone")
@pytest.mark.parametrize(("stop", "code"), [(None, 1), (signal.SIGINT, 130)])
def test_results_that_become_read_only_end_a_sweep(stop, code, tmp_path, monkeypatch):
    results = tmp_path / "results"
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **more: popen([*drop, *command], **more))
    command = begun(results, SWEEP)
    for folder, _, _ in os.walk(results):
        Path(folder).chmod(0o555)
    if stop:
        command.send_signal(stop)
    assert command.wait(timeout=30) == code
    assert not survival.wait_gone(results, 10)
    assert "Traceback" not in said(results)
    assert "Permission denied" in said(results)


def test_a_lost_terminal_stops_a_sweep_with_everything_saved(tmp_path):
    import pty

    results = tmp_path / "results"
    environment = os.environ | {"PYTHONPATH": str(survival.ROOT), survival.MARK: str(results), "TERM": "xterm"}
    shell, terminal = pty.fork()
    if shell == 0:
        survival.receive_signals()
        os.execve(sys.executable, [sys.executable, "-m", "harness.run", *SWEEP, f"results={results}"], environment)
    until(lambda: sum('"loss"' in text(path) for path in results.glob("runs/*/status.json")) == 2)
    os.close(terminal)  # the system sends SIGHUP
    _, status = os.waitpid(shell, 0)
    assert os.WIFEXITED(status)
    assert not survival.wait_gone(results, 10)
    states = [Run(folder).state for folder in (results / paths.RUNS).iterdir()]
    assert sorted(states) == ["interrupted", "interrupted", "waiting", "waiting"]
