"""Lock files, which let one process write a run. The system releases a lock when its process ends, even if it is killed.

This module extends filelock: it removes lock files after use, locks only regular files, and inspects a lock without taking it.
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
"""Attempts to lock a file whose folder other processes remove. A failure is rare: the folder must vanish within microseconds."""
UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of flock on file systems without locks: Lustre without `-o flock`, some NFS and FUSE mounts."""


class LockError(OSError):
    """A file cannot be locked; the message gives the path and the remedy."""


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Lock the file `path` for the block, without waiting. Yields False if another process holds the lock.

    A missing folder of the file is created; its parent must exist. Raises LockError if the file cannot be locked.
    """
    acquired = _acquire(path)
    if acquired is None:
        yield False
        return
    lock, status = acquired
    try:
        yield True
    finally:
        if lock.is_locked:  # false in a forked child: the parent owns the lock
            with suppress(OSError):  # the folder may be gone or read-only; a lock file left behind does no harm
                if os.path.samestat(path.lstat(), status):
                    path.unlink()
            lock.release()


def is_held(path: Path) -> bool:
    """Return whether another process holds the lock, without taking it; True if that cannot be determined."""
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
    """Return the lock and the status of its file, or None if another process holds it. Raises LockError as `try_lock` does."""
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
            reason = error  # another process has just removed the folder, or it is not a folder
        except LockError:
            raise
        except OSError as error:
            if error.errno in UNSUPPORTED | {errno.EIO}:
                with suppress(OSError):
                    path.unlink()
            if error.errno in UNSUPPORTED:
                advice = "mount it with flock, or keep results elsewhere: results=FOLDER"
                raise LockError(
                    f"{path.parent}: its file system does not support locks (flock: {error.strerror}); {advice}"
                ) from error
            raise LockError(f"{path}: cannot be locked ({error.strerror}); move it away") from error
    raise LockError(f"{path.parent}: no file can be locked there ({reason})")
