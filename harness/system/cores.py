"""How many CPU cores and threads this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Return how many CPU cores this process may use, at least one; Slurm's allotment where that is fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _variable("SLURM_CPUS_PER_TASK"), thread_limit()))


def threads_here(threads: int | str) -> int:
    """Return the CPU threads of a run in this process: where `threads` is auto, as many as the cores that it may use."""
    return available_cores() if threads == "auto" else int(threads)


def thread_limit() -> int:
    """Return how many threads OpenMP starts at most; torch waits for more without end."""
    return max(1, _variable("OMP_THREAD_LIMIT"))


def _variable(name: str) -> int:
    """Return the whole number in a variable of the environment; where there is none, more than any machine has of anything."""
    given = os.environ.get(name, "").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 10**9
