"""The folder through which a sweep's command and its workers, on whatever machine, communicate.

It lies below RESULTS/.launch for the duration of a launch. It holds the jobs, the names of runs that have ended or are trained by
another sweep, and the file `stop`, which asks everybody to save and exit. A missing folder means the same: results were moved or
removed.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.records import paths
from harness.system import locks
from harness.system.signals import Stop

POLL = 0.1
"""Seconds between two checks for a stop request to forward."""
ABANDONED = 60.0
"""Seconds after which a folder whose command is dead is removed."""


@contextmanager
def launch_folder(results: Path) -> Iterator[Path]:
    """Create a folder for one launch and remove it afterwards, with those that killed commands left.

    Raises OSError where none can be created.
    """
    parent = results / paths.LAUNCH
    for old in _subfolders(parent):
        with suppress(FileNotFoundError):
            if not locks.is_held(old / paths.ALIVE) and time.time() - old.stat().st_mtime > ABANDONED:
                shutil.rmtree(old, ignore_errors=True)
    folder = _create(parent)
    empty = [parent, results / paths.LOCKS]
    try:
        with locks.try_lock(folder / paths.ALIVE):
            try:
                yield folder
            finally:
                empty += [results] if is_gone(folder) else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for path in empty:
            with suppress(OSError):
                path.rmdir()


def _subfolders(parent: Path) -> list[Path]:
    with suppress(FileNotFoundError):  # another launch may remove the folder while it is read
        return list(parent.glob("*/"))
    return []


def _create(parent: Path) -> Path:
    for tries_left in reversed(range(locks.TRIES)):
        try:
            parent.mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=parent))
            for name in (paths.ENDED, paths.BUSY):
                (folder / name).mkdir()
            return folder
        except (FileNotFoundError, FileExistsError):
            if not tries_left:
                raise
            # else another launch has just removed the empty folder
    raise AssertionError("not reached")


def note(folder: Path, kind: str, run: str) -> None:
    """Note that a run has ended, or is trained by another sweep: `kind` is paths.ENDED or paths.BUSY."""
    try:
        (folder / kind / run).touch()
    except FileNotFoundError:
        if not is_gone(folder):
            raise


def noted_runs(folder: Path, kind: str) -> set[str]:
    """Return the names of the runs noted as `kind`."""
    return {path.name for path in (folder / kind).iterdir()}


def is_gone(folder: Path) -> bool:
    """Return whether the folder was moved or removed, rather than being inaccessible for a moment.

    Hydra recreates it as an empty folder, so a file in it decides.
    """
    try:
        (folder / paths.ALIVE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def is_stopping(folder: Path) -> bool:
    """Return whether everybody is asked to save and exit."""
    return os.access(folder / paths.STOP, os.F_OK) or is_gone(folder)


def stop(folder: Path) -> None:
    """Ask everybody to save and exit; where no file can be written, end this process's own workers.

    The process that trains for a worker ends with it, and saves first.
    """
    try:
        (folder / paths.STOP).touch()
    except OSError:
        if not is_gone(folder):
            for worker in multiprocessing.active_children():
                worker.terminate()


@contextmanager
def forward_stop(request: Stop, folder: Path) -> Iterator[None]:
    """Forward a stop request that this process gets within the block to its workers."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(POLL):
            if request and not is_stopping(folder):
                stop(folder)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
