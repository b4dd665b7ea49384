"""The folder through which a sweep's command and its workers, on whatever machine, deal with each other.

It lies below RESULTS/.launch for as long as a launch takes: the jobs, which runs ended or are another sweep's, and the file
`stop`, which asks everybody to save and leave. A folder that is gone asks for the same: results were moved or removed.
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
"""Seconds between two looks at whether a request to stop is to be passed on."""
ABANDONED = 60.0
"""Seconds after which a folder whose command is dead is removed."""


@contextmanager
def opened(results: Path) -> Iterator[Path]:
    """Give a new folder, and remove it afterwards, with those that killed commands left.

    Raises OSError where none can be made.
    """
    place = results / paths.LAUNCH
    for old in _below(place):
        with suppress(FileNotFoundError):
            if not locks.is_held(old / paths.ALIVE) and time.time() - old.stat().st_mtime > ABANDONED:
                shutil.rmtree(old, ignore_errors=True)
    folder = _made(place)
    empty = [place, results / paths.LOCKS]
    try:
        with locks.try_lock(folder / paths.ALIVE):
            try:
                yield folder
            finally:
                empty += [results] if gone(folder) else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for made in empty:
            with suppress(OSError):
                made.rmdir()


def _below(place: Path) -> list[Path]:
    with suppress(FileNotFoundError):  # another launch may remove the folder while it is read
        return list(place.glob("*/"))
    return []


def _made(place: Path) -> Path:
    for tries_left in reversed(range(locks.TRIES)):
        try:
            place.mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=place))
            for name in (paths.ENDED, paths.BUSY):
                (folder / name).mkdir()
            return folder
        except (FileNotFoundError, FileExistsError):
            if not tries_left:
                raise
            # else another launch has just removed the empty folder
    raise AssertionError("not reached")


def note(folder: Path, kind: str, run: str) -> None:
    """Note that a run is of this kind: layout.ENDED or layout.BUSY."""
    try:
        (folder / kind / run).touch()
    except FileNotFoundError:
        if not gone(folder):
            raise


def noted(folder: Path, kind: str) -> set[str]:
    """Return the runs that are noted as of this kind."""
    return {path.name for path in (folder / kind).iterdir()}


def gone(folder: Path) -> bool:
    """Return whether the folder was moved or removed; not whether it cannot be seen for the moment.

    Hydra makes an empty folder anew, so a file in it decides.
    """
    try:
        (folder / paths.ALIVE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def stopped(folder: Path) -> bool:
    """Return whether everybody is to save and leave."""
    return os.access(folder / paths.STOP, os.F_OK) or gone(folder)


def stop(folder: Path) -> None:
    """Ask everybody to save and leave; where nothing can be written, by ending this process's own workers.

    What trains for a worker ends with it, and saves first.
    """
    try:
        (folder / paths.STOP).touch()
    except OSError:
        if not gone(folder):
            for worker in multiprocessing.active_children():
                worker.terminate()


@contextmanager
def passing_on(asked: Stop, folder: Path) -> Iterator[None]:
    """Pass the request to stop that this process gets within the block on to its workers."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL):
            if asked and not stopped(folder):
                stop(folder)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
