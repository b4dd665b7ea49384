"""What every command has in common: where it prints, and how it ends.

`guard` is called when Python first imports this package for `python -m harness.COMMAND`, before the command's own imports;
`run` carries the command out. Neither shows a traceback for what a terminal, a pipe or a full disk does.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

INTERRUPTED, PIPE_CLOSED = 128 + signal.SIGINT, 128 + signal.SIGPIPE
"""Exit codes, as a shell gives them to programs that such a signal ends."""


class _Messages(io.TextIOWrapper):
    """The standard error stream; where nothing can be written, messages are lost and nothing else happens."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _to_nowhere(2)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _to_nowhere(2)


def guard() -> None:
    """Let output that cannot be encoded or written, and Ctrl-C at any time, end in no traceback."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: else the next file that is opened would get the number, and the output
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        encoding = sys.stderr.encoding
        sys.stderr = _Messages(sys.stderr.detach(), encoding, "backslashreplace", line_buffering=True)
    sys.excepthook = _excepthook


def run(command: str, main: Callable[[], int]) -> None:
    """Carry out a command's `main` and end the process with its exit code."""
    try:
        code = _guarded(command, main)
    except KeyboardInterrupt:  # another one, while the first was dealt with
        code = INTERRUPTED
    with suppress(KeyboardInterrupt):
        sys.stderr.flush()
    raise SystemExit(code)


def _guarded(command: str, main: Callable[[], int]) -> int:
    try:
        code = main()
        sys.stdout.flush()
        return code
    except SystemExit as end:  # argparse: what --help prints, or what was wrong
        return _flushed(command, end.code if isinstance(end.code, int) else 2 if end.code else 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _unwritten(command, error)


def _flushed(command: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unwritten(command, error)
    return code


def _unwritten(command: str, error: OSError) -> int:
    """Say, unless nobody reads any more, why the output or another file could not be written."""
    _to_nowhere(1)
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    refuse(command, error)
    return 1


def refuse(command: str, error: object) -> int:
    """Say on one line why a command is not carried out, and return its exit code, 2."""
    text = " ".join(str(error).split())
    print(f"{command}: {text}", file=sys.stderr)
    return 2


def _to_nowhere(number: int) -> None:
    """Let a stream's buffered and further output go nowhere, the end of the process included."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
