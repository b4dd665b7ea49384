"""Stop requests by signals. They are recorded at once and obeyed where it is safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """A stop request: true once a signal has requested a stop. `signal` is its number, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def request(self, number: int, frame: FrameType | None = None) -> None:
        """Record the signal `number`; after an earlier request, Ctrl-C raises KeyboardInterrupt."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


def enclosing_stop() -> Stop | None:
    """Return the Stop of the enclosing `stop_on_signals`, if there is one."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, Stop) else None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a Stop, which SIGTERM, SIGINT and SIGHUP set within the block. Nested blocks share the Stop of the outermost.

    Signals are handled only in the main thread. Ignored signals (nohup) stay ignored.
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
