"""Train one run, or a sweep of runs, and report on it.

    python -m harness.run [-m] [key=value ...]

With -m any key may have several values, separated by commas, and every combination is run: depth=20,56,110
shortcut=none,identity. Values follow Hydra's grammar (hydra.cc). launcher=slurm and launcher=ray train the runs on a cluster.
Exit code 0, 1 if a run failed, 2 if the command cannot be run (nothing was started), 130 if it was stopped (everything
is saved; the same command resumes it).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap

from harness.config.registry import ChoiceError
from harness.system import console

OPTIONS = {"-m": "--multirun", "--multirun": "--multirun", "-h": "--help", "--help": "--help"}
MANY_RUNS = 100
"""Combinations above which their number is printed before they are planned."""
SILENCE = 2.0
"""Seconds between two progress lines."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _main(given)
    except KeyboardInterrupt:
        return console.stopped("harness.run", given)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, for example; files written before are complete
        console.refuse("harness.run", error)
        return 1


def _main(given: list[str]) -> int:
    from harness.planning import arguments
    from harness.system import address_space

    try:
        options, overrides = arguments.split(given, OPTIONS)
        if "--help" in options:
            print(help_text())
            return 0
        address_space.check(address_space.LOADING)
        from harness.planning import sweep

        command = ["python", "-m", "harness.run", *given]
        planned = sweep.plan(overrides, "--multirun" in options, command, progress("planning"))
        from harness.launching.engine import LaunchError
        from harness.launching.launch import prepare, run_sweep, submit
        from harness.reporting import build
        from harness.system import logs

        address_space.check(address_space.TRAINING)
        console.begin()
        logs.log_to_stderr()
        left = prepare(planned, progress("preparing"))
    except ChoiceError as error:
        return console.refuse("harness.run", error)
    except (ImportError, MemoryError) as error:
        return console.refuse("harness.run", address_space.explain_import_error(error))
    try:
        if left and not planned.launcher.waits:
            print(submit(left, planned))
            return 0
        completed = run_sweep(left, planned)
    except LaunchError as error:
        console.refuse("harness.run", error)
        return 1
    return build.conclude(planned.folder) if completed else console.stopped("harness.run", given)


def progress(what: str) -> Callable[[int, int], None]:
    """Return a function of (runs done, runs in all) that prints the progress of `what` to stderr if it takes long."""
    printed = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed
        if not done and total > MANY_RUNS:
            print(f"harness.run: {what} {total:,} runs", file=sys.stderr)
        if time.monotonic() - printed > SILENCE:
            printed = time.monotonic()
            print(f"{what}: {done:,} of {total:,} runs", file=sys.stderr)

    return report


def help_text() -> str:
    """Return the usage, the groups, the open choices, and every key with its default and comment."""
    from harness.config.conf import GROUPS, choices_of, conf_folder, header_comment
    from harness.config.registry import BUILT_IN

    schedule = conf_folder() / "schedule" / "cifar10.yaml"
    groups = [f"{name}: {', '.join(choices_of(name))}" for name in GROUPS]
    groups = [line for group in groups for line in wrap(group, 120, initial_indent="  ", subsequent_indent="      ")]
    names = [f"{choice.key}={name}: {sentence}" for choice in BUILT_IN for name, sentence in choice.sentences.items()]
    lines = [__doc__ or "", "Groups:", *groups, "", *names, "", "Keys and defaults:", ""]
    lines += _keys(conf_folder() / "config.yaml")
    lines += ["", f"schedule=cifar10: {header_comment(schedule)}", "", *_keys(schedule, indent="  ")]
    return "\n".join(lines)


def _keys(path: Path, indent: str = "") -> list[str]:
    """Return the lines of the keys in a YAML file of conf/, each below its comment."""
    from harness.config.conf import key_comments

    lines = []
    for key, (default, comment) in key_comments(path).items():
        lines += wrap(f"# {comment}", 120, initial_indent=indent, subsequent_indent=f"{indent}# ")
        lines.append(f"{indent}{key}: {default}")
    return lines


if __name__ == "__main__":
    console.run("harness.run", main)
