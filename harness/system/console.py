"""What every command has in common: where it prints, and how it ends.

`guard` is called when Python first imports this package for `python -m harness.COMMAND`, before the command's own imports;
`run` carries the command out. Neither shows a traceback for what a terminal, a pipe or a full disk does. Nothing but what
Python has loaded by then is imported here, so that hardly any time passes before Ctrl-C is heeded.
"""

from __future__ import annotations

import io
import os
import signal
import sys

TYPE_CHECKING = False  # not from typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

INTERRUPTED, PIPE_CLOSED = 128 + signal.SIGINT, 128 + signal.SIGPIPE
"""Exit codes, as a shell gives them to programs that such a signal ends."""
_interrupted = False


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
    """Let output that cannot be encoded or written end in no traceback, and Ctrl-C in none until `begin`: it ends the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: else the next file that is opened would get the number, and the output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # stays open
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        encoding = sys.stderr.encoding
        sys.stderr = _Messages(sys.stderr.detach(), encoding, "backslashreplace", line_buffering=True)


def _leave(number: int, frame: object) -> NoReturn:
    """End the process at once: an exception in the middle of an import would become another one, or a crash."""
    os._exit(INTERRUPTED)


def begin() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, where it was left to `guard`: there is something to save or to remove."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: object) -> NoReturn:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def run(command: str, main: Callable[[], int]) -> NoReturn:
    """Carry out a command's `main` and end the process with its exit code."""
    try:
        code = _carried_out(command, main)
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:
        if not _interrupted:
            raise
        code = INTERRUPTED  # a library that was interrupted in an import or a callback raises something else
    raise SystemExit(code)


def _carried_out(command: str, main: Callable[[], int]) -> int:
    try:
        try:
            code = main()
        except SystemExit as end:  # argparse: --help, or what is wrong
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    except BrokenPipeError:
        _to_nowhere(1)
        return PIPE_CLOSED
    except OSError as error:
        _to_nowhere(1)
        refuse(command, error)
        return 1
    return code


def refuse(command: str, error: object) -> int:
    """Say on one line why a command is not carried out, and return its exit code, 2."""
    text = " ".join(str(error).split())
    print(f"{command}: {''.join(one if one.isprintable() else ascii(one)[1:-1] for one in text)}", file=sys.stderr)
    return 2


def _to_nowhere(number: int) -> None:
    """Let a stream's buffered and further output go nowhere, at the end of the process as well."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
