"""Standard streams, signals and exit codes of every command: no terminal, pipe or full disk causes a traceback.

`guard` is called before the imports of a command, `run` runs the command. This module imports only modules that Python has
already loaded, so that Ctrl-C is handled almost from the start.
"""

from __future__ import annotations

import io
import os
import signal
import sys

TYPE_CHECKING = False  # not from typing, which takes longer to import than all of this
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import NoReturn

INTERRUPTED, PIPE_CLOSED = 128 + signal.SIGINT, 128 + signal.SIGPIPE
"""Exit codes that a shell reports for programs ended by SIGINT and SIGPIPE."""
_interrupted = False


class _Messages(io.TextIOWrapper):
    """The standard error stream. Messages that cannot be written are dropped without an error."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(2)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(2)


def guard() -> None:
    """Escape characters that cannot be encoded, open closed streams, and let Ctrl-C end the process at once until `begin`."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL):
        signal.signal(signal.SIGINT, _leave)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next opened file would get this number, and the output
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
    """Exit at once: an exception in the middle of an import would become another exception, or a crash."""
    os._exit(INTERRUPTED)


def begin() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again after `guard`: from now on there are results to save or files to remove."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: object) -> NoReturn:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def run(command: str, main: Callable[[], int]) -> NoReturn:
    """Run a command's `main` and exit with its exit code."""
    try:
        code = _exit_code(command, main)
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:
        if not _interrupted:
            raise
        code = INTERRUPTED  # an interrupted library may raise another exception
    raise SystemExit(code)


def _exit_code(command: str, main: Callable[[], int]) -> int:
    try:
        try:
            code = main()
        except SystemExit as end:  # argparse: --help, or a usage error
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(1)
        return PIPE_CLOSED
    except OSError as error:
        _discard(1)
        refuse(command, error)
        return 1
    return code


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Return an argument parser for `python -m COMMAND`, whose --help prints a module's docstring as it is."""
    import argparse

    return argparse.ArgumentParser(
        prog=f"python -m {command}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def refuse(command: str, error: object) -> int:
    """Print an error as one line on stderr, and return the exit code for a command that cannot run, 2."""
    text = " ".join(str(error).split())
    print(f"{command}: {''.join(char if char.isprintable() else ascii(char)[1:-1] for char in text)}", file=sys.stderr)
    return 2


def stopped(command: str, arguments: Sequence[str]) -> int:
    """Print how to resume a command that was stopped, and return its exit code, 130."""
    import shlex

    line = shlex.join(["python", "-m", command, *arguments])
    print(f"stopped; run the same command again to resume: {line}", file=sys.stderr)
    return INTERRUPTED


def _discard(number: int) -> None:
    """Discard the buffered and all further output of a stream, also when the process exits."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
