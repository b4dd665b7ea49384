"""What tests on a cluster share: a sweep of four runs, and what a test asks about it."""

import os
import random
import signal
import subprocess

from harness.records import paths
from harness.records.run import Run

KEYS = ["width=4", "device=cpu", "schedule.batch_size=32", "schedule.eval_every=400", "checkpoint_minutes=0.02"]
FOUR = ["-m", "depth=8,14", "shortcut=none,identity", "schedule.steps=2000", *KEYS]
HALF = """
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Identity
@SHORTCUT.register('half', 'half of the input')
class Half(Identity):
    def forward(self, x, branch):
        return 0.5 * super().forward(x, branch)
"""
"""A plugin for shortcut=half."""


def training(results):
    """Return the runs that are being trained, with a step behind them."""
    folders = (results / paths.RUNS).glob("*") if (results / paths.RUNS).is_dir() else []
    return [run for run in map(Run, folders) if run.has_status and run.state == "running" and run.status["step"] > 0]


def log(results):
    """Return what the sweep's command has printed."""
    return results.with_suffix(".log").read_text()


def kill_one(*pattern):
    """Kill a random process among those that pgrep finds by this pattern, as by SIGKILL."""
    pids = subprocess.run(["pgrep", *pattern], capture_output=True, text=True, check=False).stdout.split()
    os.kill(int(random.choice(pids)), signal.SIGKILL)
