"""Where data lie: the folder that `data.root` names, files below it, and what the file system says to them in one sentence."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.config.registry import ChoiceError, shown
from harness.records import reader


def folder(root: str, remedy: str, absent: bool = False) -> Path:
    """Return the folder `root`, `~` resolved; where `absent`, also if there is none yet.

    Raises ChoiceError, ending in `remedy`, where it is no folder or cannot be reached.
    """
    try:
        place = Path(root).expanduser()
        kind = place.stat().st_mode
    except FileNotFoundError:
        if absent:
            return place
        raise ChoiceError(f"data.root={root}: there is no such folder; {remedy}") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user; ValueError: a NUL
        why = (isinstance(error, OSError) and error.strerror) or reader.words(error).rstrip(".")
        raise ChoiceError(f"data.root={shown(root)}: cannot be read: {why}; {remedy}") from error
    if not stat.S_ISDIR(kind):
        raise ChoiceError(f"data.root={root}: is a file, not a folder; {remedy}")
    return place


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Make a ChoiceError that names `what` and the path of whatever the file system refuses inside."""
    try:
        yield
    except OSError as error:
        raise ChoiceError(f"{what}: cannot be read: {reader.words(error)}") from error


def read(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes; raises ChoiceError naming it."""
    try:
        return reader.read_bytes(path, most)
    except reader.RecordError as error:
        raise ChoiceError(f"data.root: {error}") from error
