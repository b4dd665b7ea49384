"""The live table of a sweep's progress on a terminal."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from harness.records.progress import places, summary, table
from harness.records.reader import RecordError

log = logging.getLogger("harness")

REFRESH = 0.5
PATIENCE = 2.0
"""Seconds that are waited for a terminal that takes nothing, being paused."""
NEWS = 120.0
"""Seconds between two lines on how far a sweep is, where no table can be drawn: an epoch of a deep net takes longer."""


class Display:
    """While its block runs: draws the table in place, or logs a line now and then."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.draws = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._drawn = 0

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        if self.draws:
            with suppress(Exception):
                self._draw()

    def _watch(self) -> None:
        tell, pause = (self._draw, REFRESH) if self.draws else (self._say, NEWS)
        told = time.monotonic() - (REFRESH if self.draws else 0)
        while not self._over.wait(0.1):
            if time.monotonic() - told > pause:
                with suppress(Exception):  # the terminal or the folder may be gone
                    tell()
                told = time.monotonic()

    def _say(self) -> None:
        log.info(summary(places(self.sweep)))

    def _draw(self) -> None:
        size = shutil.get_terminal_size()
        try:
            lines = [line[: size.columns - 1] for line in table(places(self.sweep), size.lines - 1)]
        except RecordError:
            return
        back = f"\x1b[{self._drawn}F" if self._drawn else ""
        sys.stderr.write(back + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[0J")
        sys.stderr.flush()
        self._drawn = len(lines)
