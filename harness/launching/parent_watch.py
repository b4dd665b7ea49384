"""Let no process outlive its parent, however the parent ends and whatever the process is doing.

A launcher's worker has nothing to save and exits at once. A process that trains notices the end of its standard input and saves
first (`harness.launching.worker`); after GRACE seconds a second process, its guard, kills it. A thread could not do that: a long
call into C may hold the interpreter's lock.

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
"""Seconds between two checks whether a process lives."""
GRACE = 8.0
"""Seconds that a process may take to save and exit once its standard input has ended."""


@cache
def exit_with_parent(parent: int) -> None:
    """Exit this process, from now on, as soon as its parent is no longer the process `parent`."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def workers_exit_with_this_process() -> Iterator[None]:
    """Let the workers that joblib starts within the block exit with this process, from before their first job on.

    The backend is registered again because Hydra's launcher names it, which makes joblib ignore the initializer of a
    `parallel_config`.
    """
    from joblib import parallel

    before = parallel.BACKENDS["loky"]
    parallel.register_parallel_backend("loky", partial(before, initializer=exit_with_parent, initargs=(os.getpid(),)))
    try:
        yield
    finally:
        parallel.register_parallel_backend("loky", before)


@cache
def kill_after_input_ends() -> subprocess.Popen[bytes]:
    """Start a guard that kills this process and its children GRACE seconds after its standard input, a pipe, has ended.

    This process must lead its process group (`start_new_session`). Nothing is read from the pipe.
    """
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _guard(process: int) -> None:
    """Wait until `process`, the parent, is gone or its input ended GRACE seconds ago; then kill its process group."""
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
