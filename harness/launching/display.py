"""Show the progress of a sweep while it runs: a live table on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.records.progress import read_progress, summary, table

log = logging.getLogger("harness")

REFRESH = 0.5
"""Seconds between two updates of the table."""
PATIENCE = 2.0
"""Seconds to wait for a terminal that accepts no output because it is paused."""
NEWS = 120.0
"""Seconds between two log lines: an epoch of a deep net takes longer."""


class Display:
    """Shows the progress of the sweep in folder `sweep` within its block; `is_live` tells whether as a table.

    A thread does all the writing, so that a terminal that accepts no output stops the table and nothing else.
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self._console = Console(stderr=True, force_terminal=sys.stderr.isatty())
        self.is_live = self._console.is_interactive
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._draw if self.is_live else self._log, daemon=True)

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._finished.set()
        self._thread.join(PATIENCE)

    def _draw(self) -> None:
        live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        with suppress(OSError), live:  # the terminal may be gone
            finished = False
            while not finished:
                finished = self._finished.wait(REFRESH)
                with suppress(Exception):  # so may the folder
                    lines = table(read_progress(self.sweep), self._console.height - 1)
                    live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)

    def _log(self) -> None:
        while not self._finished.wait(NEWS):
            with suppress(Exception):  # the folder may be gone
                log.info(summary(read_progress(self.sweep)))
