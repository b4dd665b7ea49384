"""Whether this process may take the address space that training needs: `ulimit -v` may be too small for it."""

from __future__ import annotations

import resource
from pathlib import Path

from harness.config.registry import ChoiceError

LOADING = 512 * 2**20
"""Bytes that loading torch takes at least; with fewer, OpenBLAS ends the process as it is loaded."""
TRAINING = 384 * 2**20
"""Bytes that a small training takes once torch is loaded; with fewer, OpenBLAS may look for memory for ever."""


def check(room: int) -> None:
    """Raise ChoiceError where this process may not take `room` bytes of address space more."""
    most, used = _most(), _used()
    if most is not None and most - used < room:
        raise ChoiceError(
            f"{_mib(most)} of address space are too few: {_mib(used)} are taken by now, and at least {_mib(room)} more are "
            "needed; raise the limit (ulimit -v)"
        )


def not_loaded(error: BaseException) -> str:
    """Return what to tell a user where a library cannot be loaded."""
    most, reason = _most(), " ".join(str(error).split()) or type(error).__name__
    remedy = "" if most is None else f"; {_mib(most)} of address space may be too few: raise the limit (ulimit -v)"
    return f"a library cannot be loaded: {reason}{remedy}"


def _most() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _used() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _mib(size: int) -> str:
    return f"{size // 2**20} MiB"
