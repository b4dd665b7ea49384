"""Interrupted runs, and their files."""

from contextlib import contextmanager

import pytest

from harness.records import paths
from harness.training.train import train


class StopAfter:
    """A stop request that becomes true after `looks` checks; training checks every step and every batch of an evaluation."""

    signal = None

    def __init__(self, looks):
        self.left = looks

    def __bool__(self):
        self.left -= 1
        return self.left < 0


def stop_after(monkeypatch, steps):
    @contextmanager
    def stopping():
        yield StopAfter(steps)

    monkeypatch.setattr("harness.training.train.stop_on_signals", stopping)


def interrupt(config, results, steps, monkeypatch):
    """Train and stop after `steps` checks of the stop request."""
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            train(config, results)


def files(run):
    names = [name for name in run.checked_files if name not in (paths.EPOCHS, paths.ENVIRONMENT)]
    return {name: (run.folder / name).read_bytes() for name in names}


SUICIDE = """
import os, signal
from pathlib import Path
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Identity

@SHORTCUT.register("deadly", "kills its process in its third step unless a file says otherwise")
class Deadly(Identity):
    calls = 0

    def forward(self, x, branch):
        Deadly.calls += 1
        if Deadly.calls == 3 * 3 and not Path("harmless").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x, branch)
"""
