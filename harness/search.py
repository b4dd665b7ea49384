"""Find the values of keys that give the lowest error, by Optuna; each trial is a run.

    python -m harness.search [-n TRIALS] [--objective NAME] [--sampler-seed N] key=value ...

A key with several values, 'KEY=range(START,STOP,STEP)' or 'KEY=interval(LOW,HIGH)' is searched; the other keys have one value.
'tag(log,interval(LOW,HIGH))' is searched on a logarithmic scale, 'int(interval(LOW,HIGH))' in whole numbers. NAME is a result
in runs.csv, test_error by default, which is minimised. The sampler is Optuna's TPE, with the seed N, 0 by default. As many
trials run at a time as the launcher's workers times runs_per_process. Run the same command again to resume; with more TRIALS (20
by default) it goes on. A failed trial is not repeated, unless the folder of its run is removed.
Exit code 0, 1 if a run failed, 2 if the command cannot be run (nothing was started), 130 if it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.config.registry import ChoiceError
from harness.system import address_space, console

EXTRA = "optuna is not installed; python -m pip install -e '.[search]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = console.parser("harness.search", __doc__)
    parser.add_argument("-n", type=int, default=20, metavar="TRIALS")
    parser.add_argument("--objective", default="test_error", metavar="NAME")
    parser.add_argument("--sampler-seed", type=int, default=0, metavar="N")
    parser.add_argument("keys", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(given)
    try:
        return _search(options.keys, options.objective, options.n, options.sampler_seed, given)
    except ChoiceError as error:
        return console.refuse("harness.search", error)
    except KeyboardInterrupt:
        return console.stopped("harness.search", given)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, for example; files written before are complete
        console.refuse("harness.search", error)
        return 1


def _search(keys: Sequence[str], objective: str, trials: int, seed: int, given: Sequence[str]) -> int:
    for name, number, least in (("-n", trials, 1), ("--sampler-seed", seed, 0)):
        if not least <= number < 2**32:
            raise ChoiceError(f"{name} {number}: must be a whole number from {least} to {2**32 - 1}")
    try:
        import optuna  # noqa: F401  # for its absence
    except ImportError:
        raise ChoiceError(EXTRA) from None
    from harness.planning import arguments

    arguments.split(keys, {})
    address_space.check(address_space.LOADING)
    from harness.launching.engine import LaunchError

    try:
        from harness.launching import study
        from harness.records import paths
        from harness.reporting import build
        from harness.system import logs

        address_space.check(address_space.TRAINING)
        planned = study.plan(keys, objective, trials, seed, ["python", "-m", "harness.search", *given])
    except (ImportError, MemoryError) as error:
        return console.refuse("harness.search", address_space.explain_import_error(error))
    except LaunchError as error:
        return console.refuse("harness.search", error)
    console.begin()
    logs.log_to_stderr()
    try:
        completed = planned.run()
    except LaunchError as error:
        console.refuse("harness.search", error)
        return 1
    if not completed:
        return console.stopped("harness.search", given)
    if not (planned.folder / paths.SWEEP).is_file():
        console.refuse("harness.search", "no trial could be run; the log above says why")
        return 1
    return build.conclude(planned.folder)


if __name__ == "__main__":
    console.run("harness.search", main)
