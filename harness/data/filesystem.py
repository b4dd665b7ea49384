"""Access to the data folder; whatever the file system refuses becomes a ChoiceError in one sentence."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.config.registry import ChoiceError, shown
from harness.records import reader


def root_folder(root: str, remedy: str, may_be_missing: bool = False) -> Path:
    """Return the folder that `data.root` names, with `~` expanded.

    Raises ChoiceError, which ends with `remedy`, if it is not a folder, cannot be reached, or is missing and may not be.
    """
    try:
        path = Path(root).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError:
        if may_be_missing:
            return path
        raise ChoiceError(f"data.root={root}: there is no such folder; {remedy}") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user; ValueError: a null character
        reason = (isinstance(error, OSError) and error.strerror) or reader.describe_error(error).rstrip(".")
        raise ChoiceError(f"data.root={shown(root)}: cannot be read: {reason}; {remedy}") from error
    if not stat.S_ISDIR(mode):
        raise ChoiceError(f"data.root={root}: is a file, not a folder; {remedy}")
    return path


@contextmanager
def reading(subject: str) -> Iterator[None]:
    """Turn an OSError into a ChoiceError that names `subject` and the path."""
    try:
        yield
    except OSError as error:
        raise ChoiceError(f"{subject}: cannot be read: {reader.describe_error(error)}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the contents of a regular file of at most `most` bytes; raises ChoiceError naming the file."""
    try:
        return reader.read_bytes(path, most)
    except reader.RecordError as error:
        raise ChoiceError(f"data.root: {error}") from error
