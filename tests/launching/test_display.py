"""The progress of a sweep on a terminal, however narrow, on a paused one, and without one."""

import logging
import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.launching import display
from harness.launching.display import Display
from support.fabricate import digits, finish, sweep
from support.helpers import KEYS
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def terminal():
    """The two ends of a terminal, as files: what is written to the second can be read from the first."""
    handle, end_handle = pty.openpty()
    controller, end = os.fdopen(handle, "rb", 0), os.fdopen(end_handle, "w")
    with controller:
        yield controller, end
    with suppress(OSError):  # text that nobody can read any more
        end.close()


def finished_sweep(results, runs=1):
    configs = [digits(8, "none", seed=seed) for seed in range(runs)]
    return sweep(results, [finish(results, config, 1.0, 2.0) for config in configs]).folder


def read(controller):
    """Return what a program has written to a terminal by now."""
    output = b""
    while select.select([controller], [], [], 0.1)[0]:
        output += controller.read(4096)
    return output.decode()


def fill(handle):
    """Write to a terminal until it accepts nothing more; the system makes room for some time after it was full at first."""
    os.set_blocking(handle, False)
    accepted = True
    while accepted:
        accepted = False
        time.sleep(0.2)
        with suppress(BlockingIOError):
            while os.write(handle, b"x" * 64):
                accepted = True
    os.set_blocking(handle, True)


def test_on_a_terminal_one_live_table_is_drawn(tmp_path, terminal):
    controller, end = terminal
    arguments = ["-m", "depth=8,14", "shortcut=none", *KEYS, f"results={tmp_path / 'results'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-m", "harness.run", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end, env=environment)
    output = ""
    while process.poll() is None:
        output += read(controller)
    output += read(controller)
    assert process.returncode == 0, output
    assert "2 waiting" in output
    assert "2 done" in output
    assert "\x1b[" in output
    assert "batch loss" not in output  # the log lines go to the runs' log.txt alone


def test_the_table_fits_a_narrow_and_low_terminal(tmp_path, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "6")
    controller, end = terminal
    monkeypatch.setattr(sys, "stderr", end)
    with Display(finished_sweep(tmp_path, runs=8)) as shown:
        assert shown.is_live
    output = read(controller)
    lines = [line for line in re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", output).splitlines() if line]
    assert lines[:5] == lines[5:]  # drawn twice,
    assert output.count("\x1b[1A") == 4  # in the same place
    assert max(map(len, lines)) == 40
    assert lines[0].startswith("run")
    assert lines[3:5] == ["... and 6 more", "8 done"]


def test_a_paused_terminal_does_not_hold_up_the_sweep(tmp_path, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    controller, end = terminal
    monkeypatch.setattr(sys, "stderr", end)
    fill(end.fileno())
    with Display(finished_sweep(tmp_path)) as shown:
        begun = time.monotonic()
    assert display.PATIENCE <= time.monotonic() - begun < display.PATIENCE + 5
    controller.close()
    shown._thread.join(60)
    assert not shown._thread.is_alive()


@pytest.mark.parametrize("forced", [False, True])
def test_without_a_terminal_a_log_line_says_now_and_then_how_far_a_sweep_is(forced, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(display, "NEWS", 0.05)
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take any file for a terminal
    with caplog.at_level(logging.INFO, "harness"), Display(finished_sweep(tmp_path)) as shown:
        assert not shown.is_live
        until(lambda: caplog.messages)
    assert caplog.messages[0] == "1 done"
