"""Train the runs of a sweep that no other process is training, until none is left to take.

    python -m harness.worker [--wait] FOLDER...

FOLDER is the folder of a sweep or of a run that `python -m harness.run` has prepared and that has not ended. Any number of
workers may work at one sweep at the same time, in several shells or on several hosts that share the folder. Exit code 0, 1 if a
run cannot be trained here, 2 if a folder cannot be used, 75 if the GPU does not answer any more, 130 if the worker was stopped
(everything is saved; the same command goes on).
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from harness.records import paths, reader
from harness.records.reader import RecordError
from harness.system import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = console.parser("harness.worker", __doc__)
    parser.add_argument("--wait", action="store_true", help="wait for runs that others are training, until all have ended")
    parser.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)  # another process shows the progress
    parser.add_argument("--attached", action="store_true", help=argparse.SUPPRESS)  # save and exit when standard input ends
    parser.add_argument("--gpu", type=int, help=argparse.SUPPRESS)  # number of the only GPU that this process sees
    parser.add_argument("--together", type=int, help=argparse.SUPPRESS)  # runs that share a GPU's process
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    given = parser.parse_args(arguments)
    console.begin()
    if given.attached:
        _attach()
    from harness.launching.worker import work
    from harness.system.logs import log_to_stderr
    from harness.system.signals import stop_on_signals

    if not given.quiet:
        log_to_stderr()
    folders = [Path(os.path.realpath(folder)) for folder in given.folders]
    try:
        for folder in folders:
            if not any((folder / name).is_file() for name in (paths.SWEEP, paths.CONFIG)):
                raise RecordError(f"{folder}: is not the folder of a sweep or of a run")
        with stop_on_signals() as stop:
            return work(folders, given.attached, given.gpu, given.wait, stop, given.together)
    except (RecordError, OSError) as error:
        return console.refuse("harness.worker", reader.describe_error(error))


def _attach() -> None:
    """Save and exit when standard input ends: the process that started this one is gone. Ctrl-C is for that process alone."""
    from harness.launching.parent_watch import kill_after_input_ends

    kill_after_input_ends()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a plugin prints

    def watch() -> None:
        pipe.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    console.run("harness.worker", main)
