"""Whether images fit into this machine's memory, where every data set is kept whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.config.registry import ChoiceError

SHARE = 0.5
"""Of the available memory, at most this may be images: while they are split, they are there twice."""


def check(needed: int, what: str) -> None:
    """Raise ChoiceError if `needed` bytes are more than `SHARE` of the available memory."""
    if needed > SHARE * (there := available()):
        raise ChoiceError(
            f"{what} take {needed / 2**30:,.1f} GiB of memory, more than half of the {there / 2**30:,.1f} GiB available; "
            "a run keeps all its images there: take fewer or smaller ones"
        )


def available() -> int:
    """Return the bytes that this process may take: the machine's free memory, or its control group's limit if that is less."""
    found = [installed()]
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    return min(found)


def installed() -> int:
    """Return the bytes of the machine's memory, or the control group's limit if that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, StopIteration, ValueError):  # ValueError: "max", no limit
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in groups if line.startswith("0::/"))
        found.append(int(Path("/sys/fs/cgroup", own, "memory.max").read_text()))
    return min(found)
