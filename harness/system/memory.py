"""Check that all images of a data set fit into memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.config.registry import ChoiceError

SHARE = 0.5
"""Maximum share of the available memory that images may use; splitting copies them once."""


def check(needed: int, what: str) -> None:
    """Raise ChoiceError if `needed` bytes are more than `SHARE` of the available memory."""
    if needed > SHARE * (free := available()):
        raise ChoiceError(
            f"{what} take {needed / 2**30:,.1f} GiB of memory, more than half of the {free / 2**30:,.1f} GiB available; "
            "a run keeps all its images in memory: use fewer or smaller ones"
        )


def available() -> int:
    """Return the bytes that this process may allocate: the machine's free memory, at most the limit of its control group."""
    limits = [installed()]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    return min(limits)


def installed() -> int:
    """Return the bytes of the machine's memory, at most the limit of the process's control group."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, StopIteration, ValueError):  # ValueError: "max", no limit
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in groups if line.startswith("0::/"))
        limits.append(int(Path("/sys/fs/cgroup", own, "memory.max").read_text()))
    return min(limits)
