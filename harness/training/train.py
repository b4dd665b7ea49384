"""Train a config into its run folder, recording however the training ends."""

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
from harness.system.locks import LeaseLost
from harness.system.signals import Stop, stop_on_signals
from harness.tracking import check_installed
from harness.training import environment
from harness.training.auto import resolve, slow_precision_warning
from harness.training.interleaving import Task, interleave, isolated
from harness.training.loop import Training

log = logging.getLogger("harness")
log.setLevel(logging.INFO)
RESERVE_BYTES = 16 * 1024
"""Size of a file that is deleted before the final status is written, so that the status fits on a full disk."""
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""File system errors that are logged without a traceback."""


class RunFailed(RuntimeError):
    """The run ended in an error, which is the message."""


def train(config: RunConfig, results: str | Path = "results") -> Run:
    """Train a config and return its run. A finished run is reused; an interrupted run is resumed.

    If another process is training the run, this call waits for it. With `start_from`, the shallower run is trained first.

    Args:
        results: folder below which runs are kept; created if missing.

    Raises:
        ChoiceError: before anything is written, if the choices, the device, the data or the tracker are not usable.
        RunFailed: if the training ends in an error. A diverged run is a result, not an error.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved.
    """
    check_installed(config.execution.tracker)
    config = check(resolve(config))
    results = Path(results)
    with suppress(FileExistsError):
        results.mkdir(parents=True, exist_ok=True)
    results_folder.check(results)
    if (shallower := config.shallower()) is not None:
        train(shallower, results)
    waited = False
    while True:
        with locks.try_lock(paths.lock(results, config.run_name())) as locked:
            if locked:
                run = create(config, results)
                if run.finished():
                    log.info("%s: done before, reused", run.name)
                    return run
                if warning := slow_precision_warning([config]):
                    log.warning(warning)
                with stop_on_signals() as stop:
                    (state,) = interleave([train_interleaved(config, run, "harness.train", stop)])
                break
        if not waited:
            log.info("%s: another process is training it; waiting", config.run_name())
        waited = True
        time.sleep(1.0)
    if state == states.INTERRUPTED:
        raise KeyboardInterrupt
    if state == states.FAILED:
        with suppress(RecordError, KeyError):
            raise RunFailed(run.status["error"])
        raise RunFailed(f"{run.folder}: the state could not be written")
    return run


def train_interleaved(config: RunConfig, run: Run, command: str, stop: Stop, runs_per_process: int = 1) -> Task[str]:
    """Train into the run's folder, from its checkpoint if there is one; return the final state.

    This is a generator, so that several runs can interleave in one process. An exception is recorded in the run's status, not
    raised. The caller holds the run's lock.

    Args:
        command: the command line, as environment.json records it.
        runs_per_process: number of runs that interleave in this process.
    """
    task = _train(config, run, command, stop, runs_per_process)
    return (yield from isolated(task, config, run, solo=runs_per_process == 1))


def _train(config: RunConfig, run: Run, command: str, stop: Stop, runs_per_process: int) -> Task[str]:
    device = torch.device(config.torch_device)
    facts: dict[str, Any] = {"started": _now(), "step": 0, "steps": config.schedule.steps}
    training = None
    started = time.monotonic()
    try:
        write_status(run, states.RUNNING, **facts)
        writer.write_bytes(run.folder / paths.RESERVE, bytes(RESERVE_BYTES))
        training = _start_or_resume(config, run, facts, stop)
        about = training.machine | {"data_checksum": training.data.checksum, "code": environment.code_version()}
        about |= {"command": command, "runs_per_process": runs_per_process}
        writer.write_json(run.folder / paths.ENVIRONMENT, about)
        state = yield from training.train()
        about |= {"wall_seconds": training.seconds, "peak_memory": environment.peak_memory(device)}
        writer.write_json(run.folder / paths.ENVIRONMENT, about)
        state = _conclude(run, state, facts | {"seconds": training.seconds})
        training.observers.call("end", state)
        return state
    except BaseException as error:
        if training and run.folder.is_dir() and not _is_interruption(error, stop):
            try:
                training.recorder.write(run.folder, so_far=True)
            except OSError as unwritten:
                log.error("%s: its tables could not be written: %s", run.name, unwritten)
            training.observers.call("end", states.FAILED)
        facts["seconds"] = training.seconds if training else time.monotonic() - started
        return record_error(error, run, facts, stop)


def record_error(error: BaseException, run: Run, facts: dict[str, Any], stop: Stop) -> str:
    """Record an exception of any class (a plugin may raise SystemExit) as the end of a run; return the final state.

    Args:
        facts: keys of status.json beside the state.
        stop: the stop request of the process; an exception that it caused is raised again.
    """
    if _is_interruption(error, stop):
        raise error
    if not run.folder.is_dir():
        log.error("%s: its folder was moved or removed", run.name)
        return states.FAILED
    message = f"{type(error).__name__}: {error}"
    expected = isinstance(error, locks.LockError | ChoiceError) or (isinstance(error, OSError) and error.errno in UNWRITABLE)
    log.error("%s: failed: %s%s", run.name, message, "" if expected else "\n" + "".join(traceback.format_exception(error)))
    return _conclude(run, states.FAILED, facts | {"error": message})


def _is_interruption(error: BaseException, stop: Stop) -> bool:
    """Return whether an exception is no error of the run: a lost lock, a second Ctrl-C, the closing of the run's generator."""
    return isinstance(error, GeneratorExit | LeaseLost) or (isinstance(error, KeyboardInterrupt) and stop.signal is not None)


def _conclude(run: Run, state: str, facts: dict[str, Any]) -> str:
    """Write and return the final state of a run. If it cannot be written, print the reason to stderr and return failed."""
    try:
        (run.folder / paths.RESERVE).unlink(missing_ok=True)
        conclude(run, state, **facts, ended=_now())
        return state
    except OSError as error:
        reason = f" ({facts['error']})" if "error" in facts else ""
        print(f"{run.name}: {state}{reason}; its state could not be written: {error}", file=sys.stderr)
        return states.FAILED


def _start_or_resume(config: RunConfig, run: Run, facts: dict[str, Any], stop: Stop) -> Training:
    """Return the training, resumed from its checkpoint if there is one. An unreadable checkpoint is set aside."""
    checkpoint, initial = run.folder / paths.CHECKPOINT, dict(facts)
    training = Training(config, run, facts, stop)
    if checkpoint.exists():
        try:
            training.resume()
        except Exception as error:  # damaged, or written by an incompatible version of the code or of torch
            aside = writer.set_aside(checkpoint)
            log.warning("%s: %s; it is kept as %s, and the run starts again", type(error).__name__, error, aside.name)
            facts.clear()
            facts.update(initial)
            return Training(config, run, facts, stop)
    return training


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
