"""Check that runs can be kept below a results folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.config.registry import ChoiceError
from harness.records import paths
from harness.system.locks import LockError, try_lock


def check(results: Path) -> None:
    """Raise ChoiceError if runs cannot be written or locked below `results`, an existing folder. Leaves no file behind."""
    for folder in (results, *(results / name for name in (paths.RUNS, paths.SWEEPS, paths.LOCKS))):
        if os.path.lexists(folder) and not os.access(f"{folder}{os.sep}", os.R_OK | os.W_OK | os.X_OK):
            kind = "a folder without permission to write" if folder.is_dir() else "not a folder"
            raise ChoiceError(f"{folder}: is {kind}; move it away, or choose another folder by results=FOLDER")
    try:
        with try_lock(results / paths.LOCKS / f".{os.getpid()}"):
            pass
    except LockError as error:
        raise ChoiceError(str(error)) from error
    finally:
        with suppress(OSError):
            (results / paths.LOCKS).rmdir()
