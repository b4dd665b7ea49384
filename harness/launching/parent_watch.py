"""Let no process outlive its parent, however the parent ends and whatever the process is doing.

A worker notices the end of its standard input and saves (`harness.worker`); after GRACE seconds a second process, its guard,
kills it. A thread could not do that: a long call into C may hold the interpreter's lock.

    python harness/launching/parent_watch.py PID        (the guard, started by the process PID)
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache

POLL = 0.2
"""Seconds between two checks whether a process lives."""
GRACE = 8.0
"""Seconds that a process may take to save and exit once its standard input has ended."""


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
