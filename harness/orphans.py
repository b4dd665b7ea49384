"""No worker of a launcher outlives the process that started it, however that one ends.

A worker has nothing to save: what trains for it ends with its input, and saves first (`harness.worker`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

POLL = 0.2
"""Seconds between two looks at whether the parent lives."""


@cache
def end_with(parent: int) -> None:
    """End this process from now on as soon as its parent is no longer `parent`, whatever it is doing."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def workers_end_with_this_process() -> Iterator[None]:
    """Have the workers that joblib starts within the block end with this process, from before their first job on.

    The backend is registered anew since Hydra's launcher names it, which makes joblib ignore the initializer of a
    `parallel_config`.
    """
    from joblib import parallel

    before = parallel.BACKENDS["loky"]
    parallel.register_parallel_backend("loky", partial(before, initializer=end_with, initargs=(os.getpid(),)))
    try:
        yield
    finally:
        parallel.register_parallel_backend("loky", before)
