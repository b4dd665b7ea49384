"""The number of CPU cores and threads that this process may use."""

from __future__ import annotations

import os

from harness.config.registry import ChoiceError


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, within the limits of Slurm and OpenMP; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _variable("SLURM_CPUS_PER_TASK"), thread_limit()))


def threads_here(threads: int | str) -> int:
    """Return the number of CPU threads of a run in this process; "auto" means one for each available core."""
    return available_cores() if threads == "auto" else int(threads)


def check_threads(threads: int | str) -> None:
    """Raise ChoiceError if OpenMP allows this process fewer threads than a run has; torch would wait forever."""
    if threads_here(threads) > (limit := thread_limit()):
        raise ChoiceError(f"threads={threads}: OMP_THREAD_LIMIT={limit} in the environment allows no more than {limit}")


def thread_limit() -> int:
    """Return the maximum number of OpenMP threads; torch would wait forever for more."""
    return max(1, _variable("OMP_THREAD_LIMIT"))


def _variable(name: str) -> int:
    """Return the whole number in an environment variable; 10**9 if it is unset or not a number."""
    value = os.environ.get(name, "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 10**9
