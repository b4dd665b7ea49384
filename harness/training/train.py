"""From a config to a run's folder on disk, whatever happens on the way."""

from __future__ import annotations

import errno
import logging
import sys
import time
import traceback
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.data.datasets import check
from harness.records import paths, results_folder, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, conclude, create, write_status
from harness.system import locks
from harness.system.cores import threads_here
from harness.system.signals import Stop, stop_on_signals
from harness.training import environment
from harness.training.devices import resolve, slow
from harness.training.interleaving import Own, Turns, together
from harness.training.loop import Training

log = logging.getLogger("harness")
log.setLevel(logging.INFO)
RESERVE_BYTES = 16 * 1024
"""Kept free for a run's last status while it is trained, so that a full disk can be reported on it."""
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Errors of a file system, to which a traceback adds nothing."""


class RunFailed(RuntimeError):
    """A run that ended in an error; the message holds it."""


def train(config: RunConfig, results: str | Path = "results") -> Run:
    """Train `config` and return its run, below `results`; a run that was done before is returned as it is.

    Raises ChoiceError before anything is written if the choices, the device or the data do not allow it, and
    RunFailed if the training ends in an error. A diverged run is a result. On Ctrl-C the state is saved first; the same
    call goes on from there. While another process trains the same run, this one waits for it.
    """
    config = check(resolve(config))
    results = Path(results)
    with suppress(FileExistsError):
        results.mkdir(parents=True, exist_ok=True)
    results_folder.check(results)
    if (shallower := config.shallower()) is not None:
        train(shallower, results)
    waited = False
    while True:
        with locks.try_lock(paths.lock(results, config.run_name())) as mine:
            if mine:
                run = create(config, results)
                if run.finished():
                    log.info("%s: done before, reused", run.name)
                    return run
                if words := slow([config]):
                    log.warning(words)
                state = train_run(config, run, command="harness.train")
                break
        if not waited:
            log.info("%s: another process trains it; waiting", config.run_name())
        waited = True
        time.sleep(1.0)
    if state == states.INTERRUPTED:
        raise KeyboardInterrupt
    if state == states.FAILED:
        raise RunFailed(_reason(run))
    return run


def _reason(run: Run) -> str:
    with suppress(RecordError):
        if "error" in run.status:
            return str(run.status["error"])
    return f"{run.folder}: the state could not be written"


def train_run(config: RunConfig, run: Run, command: str) -> str:
    """Train into the run's folder, from its checkpoint if there is one; return the final state.

    An exception is recorded in the run's status, not raised. The caller holds the run's lock.
    """
    with stop_on_signals() as stop:
        return together([train_interleaved(config, run, command, stop)])[0]


def train_interleaved(config: RunConfig, run: Run, command: str, stop: Stop, gang: int = 1) -> Turns[str]:
    """Like `train_run`, but as a generator, so that `gang` runs can interleave in this process."""
    return (yield from Own(config, run).turns(_life(config, run, command, stop, gang), alone=gang == 1))


def _life(config: RunConfig, run: Run, command: str, stop: Stop, gang: int) -> Turns[str]:
    device = torch.device(config.torch_device)
    facts: dict[str, Any] = {"started": _now(), "step": 0, "steps": config.schedule.steps}
    training = None
    started, reserve = time.monotonic(), run.folder / paths.RESERVE
    try:
        write_status(run, states.RUNNING, **facts)
        writer.write_bytes(reserve, bytes(RESERVE_BYTES))
        training = _ready(config, run, facts, stop)
        about = environment.describe(device, threads_here(config.threads), training.data.checksum, command) | {"runs_per_process": gang}
        writer.write_json(run.folder / paths.ENVIRONMENT, about)
        state = yield from training.go()
        training.observers.call("end", state)
        about |= {"wall_seconds": training.seconds, "peak_memory": environment.peak_memory(device)}
        writer.write_json(run.folder / paths.ENVIRONMENT, about)
        return _note(run, state, facts | {"seconds": training.seconds})
    except BaseException as error:
        if training and run.folder.is_dir() and not _is_stop(error, stop):
            _write_what_there_is(training)
            training.observers.call("end", states.FAILED)
        facts["seconds"] = training.seconds if training else time.monotonic() - started
        return record_error(error, run, facts, stop)


def record_error(error: BaseException, run: Run, facts: dict[str, Any], stop: Stop) -> str:
    """Record an exception of any class, since a plugin may raise SystemExit, as the end of a run; return the final state."""
    if _is_stop(error, stop):
        raise error
    if not run.folder.is_dir():
        log.error("%s: its folder was moved or removed", run.name)
        return states.FAILED
    words = f"{type(error).__name__}: {error}"
    plain = isinstance(error, locks.LockError | ChoiceError) or (isinstance(error, OSError) and error.errno in UNWRITABLE)
    log.error("%s: failed: %s%s", run.name, words, "" if plain else "\n" + "".join(traceback.format_exception(error)))
    return _note(run, states.FAILED, facts | {"error": words})


def _is_stop(error: BaseException, stop: Stop) -> bool:
    """Return whether an exception is not an error of the run: a second Ctrl-C, or the closing of its generator."""
    return isinstance(error, GeneratorExit) or (isinstance(error, KeyboardInterrupt) and stop.signal is not None)


def _note(run: Run, state: str, facts: dict[str, Any]) -> str:
    """Write the state in which a run ended, and return it; where it cannot be written, the run failed, and stderr says why."""
    try:
        (run.folder / paths.RESERVE).unlink(missing_ok=True)  # on a full disk, the room to say so
        conclude(run, state, **facts, ended=_now())
        return state
    except OSError as error:
        reason = f" ({facts['error']})" if "error" in facts else ""
        print(f"{run.name}: {state}{reason}; its state could not be written: {error}", file=sys.stderr)
        return states.FAILED


def _ready(config: RunConfig, run: Run, facts: dict[str, Any], stop: Stop) -> Training:
    """Return the training, taken up from its checkpoint if there is a sound one; a damaged one is set aside."""
    saved = run.folder / paths.CHECKPOINT
    training = Training(config, run, facts, stop)
    if saved.exists():
        try:
            training.resume()
        except Exception as error:  # damaged, or saved by code or a torch that this one cannot read
            aside = writer.set_aside(saved)
            log.warning("%s: %s; it is kept as %s, and the run begins anew", type(error).__name__, error, aside.name)
            for key in set(facts) - {"started", "step", "steps"}:
                del facts[key]
            facts["step"] = 0
            return Training(config, run, facts, stop)
    return training


def _write_what_there_is(training: Training) -> None:
    try:
        training.rows.write(training.run.folder)
    except OSError as error:
        log.error("%s: its tables could not be written: %s", training.run.name, error)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
