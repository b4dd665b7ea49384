"""Check that `ulimit -v` leaves the address space that training needs."""

from __future__ import annotations

import resource
from pathlib import Path

from harness.config.registry import ChoiceError

LOADING = 512 * 2**20
"""Minimum bytes for loading torch; with fewer, OpenBLAS ends the process when it is loaded."""
TRAINING = 384 * 2**20
"""Minimum bytes for a small training after torch is loaded; with fewer, OpenBLAS may search for memory forever."""


def check(needed: int) -> None:
    """Raise ChoiceError if `ulimit -v` leaves fewer than `needed` bytes of address space."""
    most, used = limit(), _used()
    if most is not None and most - used < needed:
        raise ChoiceError(
            f"{_mib(most)} of address space are too few: {_mib(used)} are used, and at least {_mib(needed)} more are needed; "
            "raise the limit (ulimit -v)"
        )


def explain_import_error(error: BaseException) -> str:
    """Return a message for users about a library that cannot be loaded."""
    most, reason = limit(), " ".join(str(error).split()) or type(error).__name__
    remedy = "" if most is None else f"; {_mib(most)} of address space may be too few: raise the limit (ulimit -v)"
    return f"a library cannot be loaded: {reason}{remedy}"


def limit() -> int | None:
    """Return the bytes that `ulimit -v` allows, None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _used() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"
