"""No process outlives the one that started it, however that one ends, and whatever it is doing itself.

A launcher's worker has nothing to save, and ends at once. A process that trains is told by the end of its standard input, and
saves first (`harness.launching.worker`); after GRACE seconds a second process, its guard, kills it. A thread could not: a long
call into C may keep the interpreter's lock.

    python harness/launching/parent_watch.py PID        (the guard, started by the process PID)
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial

POLL = 0.2
"""Seconds between two looks at whether a process lives."""
GRACE = 8.0
"""Seconds that a process may take to save and leave once its standard input has ended."""


@cache
def end_with(parent: int) -> None:
    """End this process from now on as soon as its parent is no longer `parent`."""

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


@cache
def end_with_input() -> None:
    """Have this process and all that it starts killed GRACE seconds after its standard input, a pipe, has ended.

    It must lead its process group (`start_new_session`). Nothing is read from the pipe.
    """
    _guards.append(
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid())], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    )


_guards: list[subprocess.Popen[bytes]] = []


def _guard(process: int) -> None:
    """Wait until `process`, this one's parent, is gone or its input has ended for GRACE seconds; then kill its group."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hang_up, deadline = select.poll(), float("inf")
    hang_up.register(sys.stdin.fileno(), 0)
    while os.getppid() == process and time.monotonic() < deadline:
        if deadline < float("inf"):
            time.sleep(POLL)
        elif hang_up.poll(1000 * POLL):
            deadline = time.monotonic() + GRACE
    if os.getpgrp() == process:
        os.killpg(process, signal.SIGKILL)
    elif os.getppid() == process:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
