"""Train one run, or a sweep of runs, and report on it.

    python -m harness.run [-m] [key=value ...]

With -m any key may have several values, separated by commas, and every combination is run: depth=20,56,110
shortcut=none,identity. Hydra's grammar and overrides apply (hydra.org); hydra/launcher=basic runs one after the other.
Exit code 0, 1 if a run failed, 2 if the command cannot be run (nothing was started), 130 if it was stopped (everything
is saved, the same command goes on).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from textwrap import wrap


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(given)
    except KeyboardInterrupt:
        return _stopped(given)
    except OSError as error:  # a full disk, above all; what was written before is whole
        print(f"harness.run: {error}", file=sys.stderr)
        return 1


def _stopped(given: Sequence[str]) -> int:
    command = shlex.join(["python", "-m", "harness.run", *given])
    print(f"stopped; with what was saved, this goes on from here: {command}", file=sys.stderr)
    return 130


def _main(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.run", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_intermixed_args(given)
    if asked.help:
        print(help_text())
        return 0
    os.environ["HYDRA_FULL_ERROR"] = "1"
    command = ["python", "-m", "harness.run", *given]
    from harness import address_space
    from harness.choices import ChoiceError

    try:
        address_space.check(address_space.LOADING)
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from harness import sweep

        planned = sweep.plan(asked.overrides, asked.multirun, command)
        from harness import launch, report, worker

        address_space.check(address_space.TRAINING)
    except ChoiceError as error:
        print(f"harness.run: {error}", file=sys.stderr)
        return 2
    except (ImportError, MemoryError) as error:
        print(f"harness.run: {address_space.not_loaded(error)}", file=sys.stderr)
        return 2
    except (HydraException, OmegaConfBaseException) as error:
        print(f"harness.run: {sweep.first_words(error)}", file=sys.stderr)
        return 2
    worker.log_to_stderr()
    try:
        left = launch.start(planned)
    except ChoiceError as error:
        print(f"harness.run: {error}", file=sys.stderr)
        return 2
    try:
        carried_out = launch.carry_out_all(left, planned, [o for o in asked.overrides if sweep.is_launcher_override(o)])
    except (ValueError, TypeError, HydraException) as error:  # what launchers say to settings that they cannot use
        print(f"harness.run: the launcher failed: {error}", file=sys.stderr)
        return 2
    if not carried_out:
        return _stopped(given)
    return report.conclude(planned.folder)


def help_text() -> str:
    """Return the usage and every key with its comment, as conf/config.yaml has them."""
    from harness.choices import BUILT_IN
    from harness.sweep import GROUPS, choices_of, conf_folder

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
    raise SystemExit(main())
