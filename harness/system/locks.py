"""One writer per run, on any file system and across machines: a lock is a lease, a file that its holder keeps renewing.

A process that wants the lock PATH writes a file of its own, PATH.TOKEN, and then looks for others. It holds the lock if no other
file has a living owner; otherwise it removes its own. So two processes never hold the lock at once, and nobody removes the file
of a living owner. No system call for locks is used: on network file systems they may be missing, or local to one machine.

An owner on this machine lives as long as its process. An owner elsewhere lives as long as its file changes at least once in
EXPIRY seconds by the clock of the observer; a machine whose clock is wrong does no harm.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from harness.system.owner import UNKNOWN, Owner, is_running, this_process

BEAT = 10.0
"""Seconds between two renewals of a lease."""
EXPIRY = 90.0
"""Seconds without a renewal after which the lease of another machine has expired; network file systems delay what others see."""
TRIES = 100
"""Attempts to create a file whose folder others keep removing, or to get ahead of others that try at the same moment."""
HELD = "\nheld\n"
"""End of a lease whose owner found no other; without it the owner may still give way."""


class LockError(OSError):
    """A lock that nobody can take; the message names the path and the remedy."""


class LeaseLost(RuntimeError):
    """Another process took the lock over, because this one had not renewed its lease for EXPIRY seconds."""


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Take the lock `path` for the block, without waiting; yields False if another process holds it.

    The folder of `path` is created if needed, the folder above must exist.

    Raises:
        LockError: if no file can be written there.
    """
    lease = _acquire(path)
    if lease is None:
        yield False
        return
    _leases.add(path, lease)
    try:
        yield True
    finally:
        if _leases.remove(path):  # not in a forked child: the lease is its parent's
            with suppress(OSError):  # the folder may be gone or read-only by now; a lease without an owner does no harm
                lease.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock, without taking it. The lease of another machine counts while it may be alive."""
    return owner(path) is not None


def owner(path: Path) -> Owner | None:
    """Return the living owner of the lock; None if it is free."""
    for lease in _leases_of(path):
        with suppress(FileNotFoundError):
            if _is_alive(lease):
                return _owner(lease) or UNKNOWN
    return None


def last_owner(path: Path) -> Owner | None:
    """Return the owner of the lock or, if it is free, one that died with it; None if there is neither."""
    living = owner(path)
    if living is None:
        for lease in _leases_of(path):
            with suppress(FileNotFoundError):
                return _owner(lease)
    return living


def silent_seconds(path: Path) -> float:
    """Return how long ago the owner renewed its lease, by this machine's clock; 0 if nobody has one."""
    ages = []
    for lease in _leases_of(path):
        with suppress(OSError):
            ages.append(time.time() - lease.stat().st_mtime)
    return max(0.0, min(ages, default=0.0))


def check_owned(path: Path) -> None:
    """Raise LeaseLost if this process held the lock and another has taken it over."""
    if _leases.is_lost(path):
        raise LeaseLost(f"{path}: another process has taken it over, since this one did not renew its lease for {EXPIRY:.0f} s")


def _acquire(path: Path) -> Path | None:
    """Return the file of a new lease, None if another process holds the lock."""
    for attempt in range(TRIES):
        lease = path.with_name(f"{path.name}.{uuid4().hex[:16]}")  # a new one: another may still remove that of the last attempt
        _create(lease, path)
        others = [other for other in _leases_of(path) if other != lease]
        living = [other for other in others if _is_alive(other)]
        if not living:
            try:
                with lease.open("r+") as file:  # which does not create it again, should others have removed it
                    file.seek(0, os.SEEK_END)
                    file.write(HELD)
                for dead in others:
                    dead.unlink(missing_ok=True)
                return lease
            except OSError as error:
                with suppress(OSError):
                    lease.unlink(missing_ok=True)
                raise LockError(f"{path}: cannot be locked ({error.strerror})") from error
        lease.unlink(missing_ok=True)
        if attempt == TRIES - 1 or any(_is_kept(other) for other in living):
            break
        time.sleep(random.uniform(0, 0.002 * (attempt + 1)))  # others try at the same moment
    return None


def _create(lease: Path, path: Path) -> None:
    """Create the file of a lease, complete from its first moment on."""
    for tries_left in reversed(range(TRIES)):
        temporary = lease.with_name(f".{lease.name}")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps(asdict(this_process())))
            temporary.rename(lease)
            return
        except (FileNotFoundError, FileExistsError) as error:  # another has just removed the empty folder, or it is no folder
            if not tries_left:
                raise LockError(f"{path.parent}: no lock can be made there ({error.strerror})") from error
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise LockError(f"{path.parent}: no lock can be made there ({error.strerror}); choose results=FOLDER") from error


def _leases_of(path: Path) -> list[Path]:
    """Return the files of all leases of the lock."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path.with_name(name) for name in names if name.rpartition(".")[0] == path.name]


def _is_alive(lease: Path) -> bool:
    """Return whether the owner of a lease lives, as far as this process can know by now."""
    with suppress(FileNotFoundError):
        known = _owner(lease)
        running = is_running(known) if known else None
        return _leases.changed_lately(lease) if running is None else running
    return False


def _is_kept(lease: Path) -> bool:
    """Return whether the owner of a lease has found no other, rather than trying at this moment."""
    with suppress(OSError, UnicodeDecodeError):
        return lease.read_text().endswith(HELD)
    return False


def _owner(lease: Path) -> Owner | None:
    """Return the owner that a lease names, None if it names none. Raises FileNotFoundError if the file is gone."""
    try:
        return Owner(**json.loads(lease.read_text().removesuffix(HELD)))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError):
        return None


class _Leases:
    """The leases of this process, renewed by a thread, and what it has seen of those of others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._mine: dict[Path, Path] = {}
        self._lost: set[Path] = set()
        self._seen: dict[Path, tuple[int, float]] = {}
        self._process = 0

    def add(self, path: Path, lease: Path) -> None:
        """Renew `lease`, by which this process holds the lock `path`, from now on."""
        with self._guard:
            if self._process != os.getpid():  # the first lease of this process, or of a forked child
                self._process, self._mine = os.getpid(), {}
                threading.Thread(target=self._renew, daemon=True).start()
            self._mine[path] = lease
            self._lost.discard(path)

    def remove(self, path: Path) -> bool:
        """Renew the lease no longer; return whether it was this process's."""
        with self._guard:
            return self._process == os.getpid() and self._mine.pop(path, None) is not None

    def is_lost(self, path: Path) -> bool:
        """Return whether another process has taken over the lock `path`, which this one held."""
        with self._guard:
            self._look(path)
            return path in self._lost

    def _look(self, path: Path) -> None:
        """Note whether the lease of a lock is gone, other than with all results."""
        lease = self._mine.get(path)
        if lease and self._process == os.getpid() and path.parent.is_dir() and not lease.exists():
            self._lost.add(path)

    def changed_lately(self, lease: Path) -> bool:
        """Return whether a lease of another machine changed within EXPIRY seconds. Raises FileNotFoundError if it is gone."""
        changed, now = lease.stat().st_mtime_ns, time.monotonic()
        with self._guard:
            before, since = self._seen.get(lease, (None, now))
            if before != changed:
                self._seen[lease] = (changed, now)
                return True
        return now - since < EXPIRY

    def _renew(self) -> None:
        process = os.getpid()
        while process == self._process:
            time.sleep(BEAT)
            with self._guard:
                mine = dict(self._mine)
            for path, lease in mine.items():
                try:
                    os.utime(lease)
                except FileNotFoundError:
                    with self._guard:
                        self._look(path)
                except OSError:
                    pass  # a file system that does not answer for a while


_leases = _Leases()
