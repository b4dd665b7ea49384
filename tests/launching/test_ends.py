"""However a training ends, the run says how and why, and the sweep goes on to its other runs."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.records import paths
from harness.records.run import Run
from support.helpers import KEYS, tiny

ROOT = Path(__file__).resolve().parents[2]

PLUGIN = """
import os, signal, sys, threading
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Identity

def deep(n=0):
    return deep(n + 1) + 1

class Odd(BaseException):
    pass

def odd():
    raise Odd("neither")

def interrupt():
    raise KeyboardInterrupt

def memory():
    raise MemoryError

def garbage(line=b"garbage\\n"):
    for handle in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{handle}").startswith("pipe"):
                os.write(handle, line)
        except OSError:
            pass

def unfinished():
    garbage(b"garbage")

def closing():
    os.closerange(0, 3)
    os.closerange(3, 64)

def noisy():
    print('["done"]')
    sys.stdout.flush()
    os.write(1, b'["failed"]\\n')

def asking():
    input()

WAYS = {
    "exit": lambda: sys.exit(0),
    "exit5": lambda: sys.exit(5),
    "hard": lambda: os._exit(5),
    "hard0": lambda: os._exit(0),
    "abort": os.abort,
    "interrupt": interrupt,
    "odd": odd,
    "memory": memory,
    "deep": deep,
    "asking": asking,
    "garbage": garbage,
    "unfinished": unfinished,
    "closing": closing,
    "noisy": noisy,
}

def register(name):
    @SHORTCUT.register(name, "ends its run")
    class Ending(Identity):
        calls = 0

        def forward(self, x, branch):
            type(self).calls += 1
            if type(self).calls == 12:
                WAYS[name]()
            return super().forward(x, branch)

for name in WAYS:
    register(name)
"""
WAYS = {
    "exit": ("failed", "SystemExit: 0"),
    "exit5": ("failed", "SystemExit: 5"),
    "hard": ("killed", "its process ended by exit code 5"),
    "hard0": ("killed", "its process ended by exit code 0"),
    "abort": ("killed", "its process was ended by SIGABRT"),
    "interrupt": ("failed", "KeyboardInterrupt: "),
    "odd": ("failed", "Odd: neither"),
    "memory": ("failed", "MemoryError: "),
    "deep": ("failed", "RecursionError: maximum recursion depth exceeded"),
    "asking": ("failed", "EOFError: EOF when reading a line"),
    "garbage": ("done", None),  # nobody listens to what a process that trains writes
    "unfinished": ("done", None),
    "noisy": ("done", None),
}
"""What a run becomes whose shortcut does this in a step, and its reason."""


def sweep(tmp_path, ways, *more):
    (tmp_path / "ending.py").write_text(PLUGIN)
    keys = ["-m", "plugins=[ending]", f"shortcut={','.join(ways)}", "depth=8", *KEYS, *more]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "harness.run", *keys]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250, check=False)


def statuses(tmp_path):
    folders = (tmp_path / "results" / paths.RUNS).iterdir()
    return {folder.name.split("-")[1]: Run(folder).status for folder in folders}


@pytest.mark.parametrize("ways", [["exit", "hard", "garbage"], pytest.param(list(WAYS), marks=pytest.mark.slow)])
def test_every_way_to_end_is_recorded_and_costs_no_other_run(ways, tmp_path):
    done = sweep(tmp_path, [*ways, "identity"])
    assert done.returncode == 1
    found = statuses(tmp_path)
    assert found.pop("identity")["state"] == "done"
    assert {name: status["state"] for name, status in found.items()} == {name: WAYS[name][0] for name in ways}
    for name in ways:
        reason = WAYS[name][1]
        assert reason is None or found[name]["error"].startswith(reason), name


def test_in_one_process_no_plugin_ends_the_command(tmp_path):
    ways = ["exit", "interrupt", "odd", "memory", "identity"]
    done = sweep(tmp_path, ways, "launcher=inline")
    assert done.returncode == 1, done.stderr
    states = {name: status["state"] for name, status in statuses(tmp_path).items()}
    assert states == dict.fromkeys(ways, "failed") | {"identity": "done"}


@pytest.mark.slow
def test_a_plugin_that_closes_every_file_does_not_hang_the_sweep(tmp_path):
    done = sweep(tmp_path, ["closing", "identity"])
    assert done.returncode in (0, 1)
    found = statuses(tmp_path)
    assert found["identity"]["state"] == "done"
    assert found["closing"]["state"] in ("done", "failed", "killed")


def test_train_raises_for_a_plugin_that_exits(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.training.loop.Training.advance", lambda *_, **__: sys.exit(0))
    with pytest.raises(harness.RunFailed, match="SystemExit: 0"):
        harness.train(tiny(), tmp_path)


def test_where_the_state_cannot_be_written_stderr_has_the_reason(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise RuntimeError("the reason")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("harness.training.loop.Training.advance", fails)
    monkeypatch.setattr("harness.training.train.conclude", full)
    with pytest.raises(harness.RunFailed, match="the state could not be written"):
        harness.train(tiny(), tmp_path)
    said = capsys.readouterr().err
    assert f"{tiny().run_name()}: failed (RuntimeError: the reason)" in said
    assert "No space left on device" in said
