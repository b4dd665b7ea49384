"""Stop requests by signals: recorded at once, acted on where it is safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """A stop request; `signal` is the number of the signal that made it, None and false before."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def request(self, number: int, frame: FrameType | None = None) -> None:
        """Record the request; if there was one before, Ctrl-C raises KeyboardInterrupt."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


def enclosing_stop() -> Stop | None:
    """Return the Stop of the enclosing `stop_on_signals`, if there is one."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, Stop) else None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a Stop that SIGTERM, SIGINT and SIGHUP request within the block; a nested block has the same Stop.

    Signals are handled in the main thread only, and one that is ignored (nohup) stays ignored.
    """
    outer = enclosing_stop()
    stop = Stop() if outer is None else outer
    if threading.current_thread() is not threading.main_thread() or outer is not None:
        yield stop
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.request) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
