"""Train the runs of a sweep that nobody else is training, one after the other, until none is left to take.

Workers know nothing of each other and of the command that started them: what is left to do is in the runs' folders, and a run
belongs to the worker that holds its lock. So any number of them may work at one sweep, on any machine that sees the folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.launching import job
from harness.launching.job import Job
from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.system import locks
from harness.system.cores import check_threads
from harness.system.locks import LeaseLost
from harness.system.signals import Stop

log = logging.getLogger("harness")

STOPPED, LOST_DEVICE, REFUSED = 130, 75, 1
"""Exit codes of a worker that was stopped with runs left, whose device does not answer any more, and that refused runs."""
RUNS_PER_GPU_PROCESS = 4
"""Maximum runs that share a process on a GPU where `runs_per_process` is auto; not measured yet: benchmarks/gpu/check.py does."""
PAUSE = 1.0
"""Seconds between two looks for a run that others keep from starting."""


def work(folders: Sequence[Path], attached: bool, gpu: int | None, wait: bool, stop: Stop, together: int | None = None) -> int:
    """Train the runs of these folders, of runs or of sweeps; return the exit code.

    Args:
        attached: leave runs whose process was lost to the command that started this worker, which knows why.
        gpu: number of the only GPU that this process sees, if it was given one; runs of other GPUs are left to others.
        wait: wait for runs that others are training, until all have ended.
        together: number of runs that share a process on a GPU if they do not say.
    """
    queue = Queue(folders, attached, gpu, together or RUNS_PER_GPU_PROCESS)
    while not stop:
        with ExitStack() as held:
            if jobs := queue.take(held):
                from harness.training.interleaving import interleave  # torch, which a worker without a run does not need

                ended = interleave([train_job(taken, stop, len(jobs)) for taken in jobs])
                lost = states.FAILED in ended and not _device_is_alive(jobs[0].config)
                for taken, state in zip(jobs, ended, strict=True):
                    if lost and state == states.FAILED and len(jobs) > 1:  # one is to blame: each is trained alone
                        job.record_loss(taken.run, "the device was lost")
                    elif state not in (states.INTERRUPTED, None):
                        job.end(taken.run)
                if lost:
                    return LOST_DEVICE
                continue
        if not (queue.waits_for_others or (wait and queue.left())):
            return REFUSED if queue.refused else 0
        time.sleep(PAUSE)
    return STOPPED if queue.left() else 0


def train_job(taken: Job, stop: Stop, runs_per_process: int) -> Generator[None, None, str | None]:
    """Train a run whose lock is held; return its state, None if another process took it over."""
    from harness.training.train import record_error, train_interleaved

    try:
        return (yield from train_interleaved(taken.config, taken.run, taken.command, stop, runs_per_process))
    except LeaseLost as error:
        log.error("%s", error)
        return None
    except BaseException as error:  # an error outside the training, which records its own
        try:
            return record_error(error, taken.run, {}, stop)
        except LeaseLost:
            return None


def _device_is_alive(config: RunConfig) -> bool:
    import torch

    from harness.training import devices

    return devices.is_alive(torch.device(config.torch_device))


class Queue:
    """The runs of some folders that have not ended, the most expensive first."""

    def __init__(self, folders: Sequence[Path], attached: bool, gpu: int | None, together: int = RUNS_PER_GPU_PROCESS) -> None:
        self._attached, self._gpu, self._together = attached, gpu, together
        self._runs = sorted((run for folder in folders for run in runs_of(folder) if job.is_left(run)), key=_cost, reverse=True)
        self.refused = set[Run]()
        """Runs that cannot be trained by this process, for example because it has another version of a plugin."""
        self.waits_for_others = False
        """Whether at the last look a run was free, but not yet the one that it starts from."""

    def left(self) -> list[Run]:
        """Return the runs that have not ended, and that this process can train."""
        self._runs = [run for run in self._runs if job.is_left(run) and run not in self.refused]
        return self._runs

    def _waits(self, shallower: RunConfig | None, run: Run) -> bool:
        """Return whether the run that another one starts from is still to be trained, here or by others."""
        if shallower is None:
            return False
        base = Run(run.folder.with_name(shallower.run_name()))
        return locks.is_held(_lock_of(base)) or (base in self._runs and job.is_left(base) and not base.finished())

    def take(self, held: ExitStack) -> list[Job]:
        """Return the next free run, with others of its kind if they are to share a process; `held` holds their locks."""
        self.waits_for_others, jobs = False, list[Job]()
        for run in self.left():
            with ExitStack() as attempt:
                found = self._lock(run, attempt)
                if found is None or (jobs and self._kind(found.config) != self._kind(jobs[0].config)):
                    continue
                jobs.append(found)
                held.enter_context(attempt.pop_all())
            if len(jobs) == self._kind(jobs[0].config)[-1]:
                break
        return jobs

    def _kind(self, config: RunConfig) -> tuple[str, int | str, int]:
        """Return what runs that share a process have in common: device, threads and their number."""
        return config.torch_device, config.threads, runs_per_process(config, self._together)

    def _lock(self, run: Run, attempt: ExitStack) -> Job | None:
        """Lock a run and return its job; None if it is not free, has ended, or cannot be trained."""
        if self._attached and job.was_lost(run):  # or it is being trained
            return None
        if not attempt.enter_context(locks.try_lock(_lock_of(run))):
            return None
        if run.finished():
            job.end(run)
        elif job.was_lost(run):
            job.record_loss(run, "its process was lost")
        if not job.is_left(run):
            return None
        try:
            found = job.read(run)
            check_threads(found.config.threads)
        except ChoiceError as error:  # another worker may be able to train it
            log.error("%s: %s", run.name, error)
            self.refused.add(run)
            return None
        except RecordError as error:
            log.error("%s: %s", run.name, error)
            job.write_state(run, states.FAILED, error=str(error))
            job.end(run)
            return None
        if self._waits(found.config.shallower(), run):
            self.waits_for_others = True
            return None
        if self._gpu is not None:
            if found.config.execution.device_number not in (None, self._gpu):
                return None
            execution = replace(found.config.execution, device_number=None)
            found = replace(found, config=replace(found.config, execution=execution))
        return found


def _lock_of(run: Run) -> Path:
    return paths.lock(run.folder.parent.parent, run.name)


def runs_of(folder: Path) -> Iterator[Run]:
    """Yield the run of a run's folder, the runs of a sweep's folder."""
    if (folder / paths.SWEEP).exists():
        for name in reader.read_json(folder / paths.SWEEP)["runs"]:
            yield Run(paths.runs_of(folder) / name)
    else:
        yield Run(folder)


def runs_per_process(config: RunConfig, together: int = RUNS_PER_GPU_PROCESS) -> int:
    """Return the number of runs that share a process with this one, itself included; `together` on a GPU if it does not say."""
    size = config.execution.runs_per_process
    if isinstance(size, str):
        return together if config.device == "cuda" else 1
    return size


def _cost(run: Run) -> int:
    """Return the relative cost of a run, for comparison with others; 0 if it cannot be read."""
    with suppress(RecordError):
        schedule = run.config["schedule"]
        return int(run.config["depth"] * schedule["steps"] * schedule["batch_size"])
    return 0
