"""Tell processes apart, on this machine and on others: who owns a lease (`harness.system.locks`)."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process, as its lease names it.

    Args:
        host: name of its machine.
        machine: a boot of that machine, and the process namespace; equal where process numbers mean the same.
        process: its number.
        started: when it started, in the machine's own unit, so that a later process of the same number is told apart.
        job: the job of its launcher: `HARNESS_JOB`, or else the id of its Slurm job; may be empty.
    """

    host: str
    machine: str
    process: int
    started: str
    job: str


UNKNOWN = Owner("an unknown machine", "", 0, "", "")


def this_process() -> Owner:
    job = os.environ.get("HARNESS_JOB") or os.environ.get("SLURM_JOB_ID", "")
    return Owner(platform.node(), _machine(), os.getpid(), _start_of(os.getpid()) or "", job)


def is_here(owner: Owner) -> bool:
    """Return whether the owner is a process of this machine."""
    return owner.machine == _machine()


def is_running(owner: Owner) -> bool | None:
    """Return whether the owner's process runs; None if that cannot be seen from here."""
    started = _start_of(owner.process) if is_here(owner) else None
    return None if started is None else owner.started == started != ""


@cache
def _machine() -> str:
    """Return what is equal for all processes that see each other's numbers, and only for these."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116  # no path, a namespace
    return platform.node()


def _start_of(process: int) -> str | None:
    """Return when a living process started, in clock ticks since boot.

    Empty if there is none, a zombie included; None if it is hidden: another user's process where /proc shows only one's own.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()  # its name may contain anything
        return "" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return None
    return None if Path("/proc/self/stat").exists() else "unknown"  # unknown: no /proc, as on macOS
