"""Train one run, or a sweep of runs, and report on it.

    python -m harness.run [-m] [key=value ...]

With -m any key may have several values, separated by commas, and every combination is run: depth=20,56,110
shortcut=none,identity. Values follow Hydra's grammar (hydra.cc); hydra/launcher=basic runs one after the other.
Exit code 0, 1 if a run failed, 2 if the command cannot be run (nothing was started), 130 if it was stopped (everything
is saved, the same command goes on).
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from textwrap import wrap

from harness.config.registry import ChoiceError
from harness.system import console

OPTIONS = {"-m": "--multirun", "--multirun": "--multirun", "-h": "--help", "--help": "--help"}
MANY_RUNS = 100
"""Combinations above which a sweep says how many it asks for before they are planned."""
SILENCE = 2.0
"""Seconds between two lines on how far the planning is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(given)
    except KeyboardInterrupt:
        return _stopped(given)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, above all; what was written before is whole
        console.refuse("harness.run", error)
        return 1


def _stopped(given: Sequence[str]) -> int:
    command = shlex.join(["python", "-m", "harness.run", *given])
    print(f"stopped; with what was saved, this goes on from here: {command}", file=sys.stderr)
    return 130


def _main(given: list[str]) -> int:
    from harness.launching import arguments
    from harness.system import address_space

    try:
        options, overrides = arguments.split(given, OPTIONS)
        if "--help" in options:
            print(help_text())
            return 0
        address_space.check(address_space.LOADING)
        from harness.launching import sweep

        command = ["python", "-m", "harness.run", *given]
        planned = sweep.plan(overrides, "--multirun" in options, command, progress("planning"))
        from hydra.errors import HydraException

        from harness.launching.launch import run_sweep, start
        from harness.reporting import build
        from harness.system import logs

        address_space.check(address_space.TRAINING)
        os.environ["HYDRA_FULL_ERROR"] = "1"
        console.begin()
        logs.log_to_stderr()
        left = start(planned, progress("preparing"))
    except ChoiceError as error:
        return console.refuse("harness.run", error)
    except (ImportError, MemoryError) as error:
        return console.refuse("harness.run", address_space.not_loaded(error))
    try:
        launcher = [override for override in overrides if arguments.is_launcher_override(override)]
        carried_out = run_sweep(left, planned, launcher)
    except (ValueError, TypeError, HydraException) as error:  # what launchers say to settings that they cannot use
        return console.refuse("harness.run", f"the launcher failed: {error}")
    if not carried_out:
        return _stopped(given)
    return build.conclude(planned.folder)


def progress(what: str) -> Callable[[int, int], None]:
    """Return a function that says on stderr how many runs are planned or prepared, of how many, if it takes long."""
    told = time.monotonic()

    def tell(done: int, asked: int) -> None:
        nonlocal told
        if not done and asked > MANY_RUNS:
            print(f"harness.run: {what} {asked:,} runs", file=sys.stderr)
        if time.monotonic() - told > SILENCE:
            told = time.monotonic()
            print(f"{what}: {done:,} of {asked:,} runs", file=sys.stderr)

    return tell


def help_text() -> str:
    """Return the usage and every key with its comment, as conf/config.yaml has them."""
    from harness.config.conf import GROUPS, choices_of, conf_folder
    from harness.config.registry import BUILT_IN

    conf = conf_folder()
    groups = [f"{name}: {', '.join(choices_of(name))}" for name in GROUPS]
    groups = [line for group in groups for line in wrap(group, 120, initial_indent="  ", subsequent_indent="      ")]
    keys = (conf / "config.yaml").read_text(encoding="utf-8").split("\n\n", 2)[2]
    schedule = (conf / "schedule" / "cifar10.yaml").read_text(encoding="utf-8")
    indented = "\n".join(f"  {line}" for line in schedule.splitlines())
    names = [f"{choice.key}={name}: {words}" for choice in BUILT_IN for name, words in choice.sentences.items()]
    listed = "\n".join(names)
    parts = [__doc__ or "", "Groups:", *groups, "", listed, "", "Keys and defaults:", "", keys, "schedule=cifar10:", indented]
    return "\n".join(parts)


if __name__ == "__main__":
    console.run("harness.run", main)
