"""One writer per run: lock files, which the system frees when the process that holds them ends, however it ends.

filelock does the locking. Here is what it does not do: it leaves lock files behind, while a results folder shall hold nothing
but results; it locks whatever a path names, while only regular files are locked here; it cannot inspect a lock without taking it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout, UnixFileLock

TRIES = 100
"""Attempts to lock a file whose folder other processes keep removing; each failure takes one of them a window of microseconds."""
UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of flock where the file system keeps no locks: Lustre without `-o flock`, some NFS and FUSE mounts."""


class LockError(OSError):
    """A lock that nobody can take; the message names the path and the remedy."""


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Lock the file `path` for the block, without waiting; yields False if another process holds the lock.

    The folder of the lock file is created if needed, the folder above must exist. Raises LockError where the file cannot be
    locked.
    """
    acquired = _acquire(path)
    if acquired is None:
        yield False
        return
    lock, status = acquired
    try:
        yield True
    finally:
        if lock.is_locked:  # not in a forked child: the lock is its parent's
            with suppress(OSError):  # the folder may be gone or read-only by now; a lock file without a holder does no harm
                if os.path.samestat(path.lstat(), status):
                    path.unlink()
            lock.release()


def is_held(path: Path) -> bool:
    """Return whether another process holds the lock, without taking it; True where that cannot be determined."""
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


def _acquire(path: Path) -> tuple[UnixFileLock, os.stat_result] | None:
    """Return the lock and the status of its file, None if another process holds it; raises LockError if nobody can."""
    reason: object = None
    for _ in range(TRIES):
        try:
            path.parent.mkdir(exist_ok=True)
            if os.path.lexists(path) and not stat.S_ISREG(mode := path.lstat().st_mode):
                kind = "a link" if stat.S_ISLNK(mode) else "not a regular file"
                raise LockError(f"{path}: cannot be locked ({kind}); move it away")
            lock = UnixFileLock(path, timeout=0, fallback_to_soft=False)
            lock.acquire()
            return lock, path.lstat()
        except Timeout:
            return None
        except (FileNotFoundError, FileExistsError) as error:
            reason = error  # another process has just removed the empty folder, or it is not a folder
        except LockError:
            raise
        except OSError as error:
            if error.errno in UNSUPPORTED | {errno.EIO}:
                with suppress(OSError):
                    path.unlink()
            raise LockError(_message(path, error)) from error
    raise LockError(f"{path.parent}: no lock can be made there ({reason})")


def _message(path: Path, error: OSError) -> str:
    if error.errno not in UNSUPPORTED:
        return f"{path}: cannot be locked ({error.strerror}); move it away"
    return (
        f"{path.parent}: its file system keeps no locks (flock: {error.strerror}); "
        "mount it with flock, or keep results elsewhere: results=FOLDER"
    )
