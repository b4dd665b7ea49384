"""One writer per run: a lock that its process holds and that the system frees when the process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES = 100
"""Attempts to lock a file that other processes keep removing; each failure takes another process in a window of microseconds."""
UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""What flock answers where the file system keeps no locks: Lustre without `-o flock`, some NFS and FUSE mounts."""
_open: set[int] = set()


class LockError(OSError):
    """A lock that cannot be had, and that nobody else holds; the message names the path and the remedy."""


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Give whether the lock file `path` could be locked for the block; False if another process holds it.

    The folder of the lock file is made if need be, the folder above must exist. Raises LockError where the file cannot be locked.
    """
    handle = _lock(path)
    if handle is None:
        yield False
        return
    _open.add(handle)
    try:
        yield True
    finally:
        if handle in _open:  # else this is a forked child, and the lock is its parent's
            _open.remove(handle)
            with suppress(OSError):  # the folder may be gone, or read-only by now; a file without a holder locks nothing
                if _is(handle, path):
                    path.unlink()
            os.close(handle)


def is_held(path: Path) -> bool:
    """Return whether another process holds the lock, without taking it; True where that cannot be known."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _lock(path: Path) -> int | None:
    """Return the handle of the locked file, None if another process holds the lock."""
    reason = "other processes keep removing it"
    for _ in range(TRIES):
        try:
            path.parent.mkdir(exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except (FileNotFoundError, FileExistsError) as error:
            reason = str(error)  # another process has just removed the empty folder, or it is none
            continue
        except OSError as error:
            kind = "a link" if error.errno == errno.ELOOP else error.strerror
            raise LockError(f"{path}: cannot be locked ({kind}); move it away") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise LockError(f"{path}: cannot be locked (not a regular file); move it away")
            if not _try(handle, path):
                os.close(handle)
                return None
            if _is(handle, path):
                return handle
        except LockError:
            with suppress(OSError):
                if stat.S_ISREG(os.fstat(handle).st_mode) and not os.fstat(handle).st_size:
                    path.unlink()
            os.close(handle)
            raise
        os.close(handle)
    raise LockError(f"{path.parent}: no lock can be made there ({reason})")


def _try(handle: int, path: Path) -> bool:
    """Return whether the open file could be locked; raises LockError where it cannot be by anybody."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise LockError(f"{path}: cannot be locked ({error.strerror})") from error
        raise LockError(
            f"{path.parent}: its file system keeps no locks (flock: {error.strerror}); "
            "mount it with flock, or keep results elsewhere: results=FOLDER"
        ) from error
    return True


def _is(handle: int, path: Path) -> bool:
    """Return whether `path` still names the open file: its last holder may have removed it."""
    try:
        there = path.lstat()
    except OSError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _forget() -> None:
    """Close a forked child's copies of the handles, which would keep its parent's locks after the parent's end."""
    while _open:
        os.close(_open.pop())


os.register_at_fork(after_in_child=_forget)
