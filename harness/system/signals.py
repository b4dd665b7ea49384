"""A wish to stop, as signals bring it: noted at once, acted on where it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop:
    """Whether, and by which signal, this process was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Note the request; after one, Ctrl-C raises KeyboardInterrupt at once."""
        if self and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


def outer_stop() -> Stop | None:
    """Return the Stop of the block around, if there is one."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, Stop) else None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Give a Stop that SIGTERM, SIGINT and SIGHUP ask within the block; a block inside another has the same Stop.

    Elsewhere than in the main thread no signal asks it, and one that is ignored (nohup) stays so.
    """
    outer = outer_stop()
    stop = Stop() if outer is None else outer
    if threading.current_thread() is not threading.main_thread() or outer is not None:
        yield stop
        return
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.ask) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
