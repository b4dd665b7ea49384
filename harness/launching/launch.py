"""Carry out the runs of a sweep: in parallel, apart from each other, and to be gone on with whatever happens.

Hydra's launcher gets the list of runs that are still to do; each of its workers hands them to a child process that trains
(`harness.launching.supervisor`), so that what kills a training kills neither the worker nor the sweep. Where a worker itself
dies, the
runs that are left are launched again; where this process dies, its workers end (`harness.launching.parent_watch`). State on
disk is the truth: a job is a run's folder, and everything it has to say is there; the rest is in the folder of the launch
(`harness.launching.handover`).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from harness.config.conf import conf_folder
from harness.config.execution import ExecutionConfig
from harness.config.flat import plain
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.launching import handover
from harness.launching.display import Display
from harness.launching.parent_watch import end_with, workers_end_with_this_process
from harness.launching.supervisor import note, own_trainer, supervise
from harness.launching.sweep import Sweep, Tell, cost
from harness.launching.worker import run_jobs
from harness.records import paths, reader, results_folder, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, create
from harness.system import locks
from harness.system.cores import available_cores, threads_here
from harness.system.signals import Stop, outer_stop, stop_on_signals

log = logging.getLogger("harness")

GANG_ON_A_GPU = 4
"""Runs that share a process on a GPU where `runs_per_process` is auto; not measured yet: benchmarks/gpu/check.py does."""
MOVED = "it, or .launch in it, was moved or removed while its runs were trained; what they had not saved before is lost"
FRUITLESS_ROUNDS = 3
"""Launches in a row that bring no run to its end before the rest is given up."""


def start(sweep: Sweep, tell: Tell = lambda done, asked: None) -> list[RunConfig]:
    """Write sweep.json and the folders of the runs still to do; return those, the most expensive first.

    `tell` is called with the number of runs looked at so far, and of all. Raises ChoiceError, before anything is trained,
    where something below results keeps runs from being written or locked.
    """
    from harness.training.devices import slow

    results_folder.check(sweep.results)
    names, left = sweep.names, []
    try:
        for number, config in enumerate(sweep.configs, 1):
            if not _done_before(config, sweep.results):
                left.append(config)
            tell(number, len(names))
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ChoiceError(f"{error.filename}: is not a folder; move it away") from error
    except locks.LockError as error:
        raise ChoiceError(str(error)) from error
    if (place := sweep.folder / paths.SWEEP).is_dir():
        log.warning("%s: is no file; it is kept as %s", place, writer.set_aside(place).name)
    writer.write_json(place, {"experiment": sweep.experiment, "command": sweep.command, "runs": names})
    if reused := len(names) - len(left):
        log.info("%d of %d runs were done before and are reused", reused, len(names))
    for words in (sweep.decided, slow(left)):
        if words:
            log.info(words)
    return sorted(left, key=cost, reverse=True)


def _done_before(config: RunConfig, results: Path) -> bool:
    """Make the run's folder unless it is there; return whether the run is finished. Another process's run is left alone."""
    with locks.try_lock(paths.lock(results, config.run_name())) as mine:
        if mine:
            return create(config, results).finished()
    return False


def run_sweep(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str]) -> bool:
    """Bring the runs to an end, through Hydra's launcher unless there is only one; return whether all was carried out.

    False means that it was stopped by Ctrl-C or SIGTERM. Raises OSError where results were moved or removed.
    """
    left, fruitless, waited = list(configs), 0, False
    with stop_on_signals() as stop:
        while left and not stop:
            with (
                handover.opened(sweep.results) as folder,
                handover.passing_on(stop, folder),
                Display(sweep.folder) as display,
            ):
                try:
                    _launch(_next(left), sweep, launcher, folder, display.is_live, stop)
                except (OSError, RecordError):
                    if not handover.gone(folder):
                        raise
                if handover.gone(folder):
                    if not stop:
                        raise FileNotFoundError(f"{sweep.results}: {MOVED}")
                    log.warning("%s: %s", sweep.results, MOVED)
                    return False
                ended, busy = (handover.noted(folder, kind) for kind in (paths.ENDED, paths.BUSY))
                if handover.stopped(folder) and not stop:
                    stop.ask(signal.SIGTERM)
            left = [config for config in left if config.run_name() not in ended]
            fruitless = 0 if ended or busy else fruitless + 1
            if left and not stop and fruitless == FRUITLESS_ROUNDS:
                _give_up(left, sweep.results)
                break
            if busy and not ended:
                if not waited:
                    log.info("another sweep trains what is left; waiting for it")
                waited = True
                time.sleep(1.0)
        return not stop


def _next(left: Sequence[RunConfig]) -> Sequence[RunConfig]:
    """Return what is launched next: the runs from scratch, then those that start from one of them."""
    return [config for config in left if config.shallower() is None] or left


def _launch(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str], folder: Path, quiet: bool, stop: Stop) -> None:
    """Hand the runs to Hydra's launcher and wait; what became of them is on disk, in their folders and in `folder`."""
    serial, alone = "hydra/launcher=basic" in launcher, len(configs) == 1 and not launcher
    jobs = [[_job(config) for config in gang] for gang in gangs(configs)]
    chosen = [override for override in launcher if override.startswith("hydra/launcher=")]
    joblib = not chosen or "joblib" in chosen[-1]
    common = {"results": str(sweep.results), "command": sweep.command, "quiet": quiet}
    where = {"apart": not serial, "elsewhere": not joblib}
    writer.write_json(folder / paths.JOBS, where | {"common": common, "gangs": jobs})
    if alone:
        with own_trainer():
            run_gang(folder, 0)
        return
    workers = max(1, min(_at_a_time(configs), len(jobs)))
    choice = [f"hydra.launcher.n_jobs={workers}"] if joblib else []
    arguments = ["-m", f"folder={quoted(str(folder))}", f"job=range({len(jobs)})", *choice, *launcher]
    main = hydra.main(config_path=str(conf_folder()), config_name="launch", version_base="1.3")(work)
    try:
        with own_trainer(), _arguments(arguments), _sigint_for_other_threads(), workers_end_with_this_process():
            main()
    except BrokenProcessPool:
        if not stop:
            log.warning("a worker was lost; what is left is launched again")


def work(cfg: DictConfig) -> None:
    """Carry out one gang of a launch, in whatever process or machine the launcher chose."""
    run_gang(Path(cfg.folder), cfg.job)


def run_gang(folder: Path, number: int) -> None:
    """Carry out gang `number` of the launch in `folder` unless it is to stop, and note there which of its runs ended."""
    if handover.stopped(folder) or outer_stop():
        return
    launched = reader.read_json(folder / paths.JOBS)
    jobs = [launched["common"] | job for job in launched["gangs"][number]]
    if not launched["apart"]:
        ended = run_jobs(jobs)
    else:
        if launched["elsewhere"]:
            end_with(os.getppid())
        ended = supervise(jobs, partial(_stopped, folder))
    for job, state in zip(jobs, ended, strict=True):
        if state == states.INTERRUPTED and (not launched["apart"] or _stopped(folder)):
            handover.stop(folder)
        else:
            handover.note(folder, paths.BUSY if state is None else paths.ENDED, job["run"])


def _stopped(folder: Path) -> bool:
    return bool(outer_stop()) or handover.stopped(folder)


def gangs(configs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """Return the runs in their order, in gangs of one device and number of threads, each for one process."""
    found: dict[Any, list[list[RunConfig]]] = {}
    for config in configs:
        size = (GANG_ON_A_GPU if _on_a_gpu(config) else 1) if config.execution.runs_per_process == "auto" else int(config.execution.runs_per_process)
        alike = found.setdefault((config.torch_device, config.threads, size), [[]])
        if len(alike[-1]) == size:
            alike.append([])
        alike[-1].append(config)
    in_turn = zip_longest(*found.values())  # of every device one, so that each has work from the first moment
    return [gang for gangs in in_turn for gang in gangs if gang is not None]


def _at_a_time(configs: Sequence[RunConfig]) -> int:
    """Return how many processes train at a time: one for each GPU, else as many as the cores have room for."""
    if gpus := {config.torch_device for config in configs if _on_a_gpu(config)}:
        return len(gpus)
    return available_cores() // max(threads_here(config.threads) for config in configs)


def _on_a_gpu(config: RunConfig) -> bool:
    return config.device.startswith("cuda")


def _job(config: RunConfig) -> dict[str, Any]:
    return {"run": config.run_name(), "choices": config.choices(), "execution": _absolute(config.execution)}


def _give_up(configs: Sequence[RunConfig], results: Path) -> None:
    """Mark what could not be brought to an end although it was launched again and again."""
    for config in configs:
        run = Run(paths.run_folder(results, config.run_name()))
        with locks.try_lock(paths.lock(results, run.name)) as mine:
            if mine and not run.finished():
                note(run, states.KILLED, error=f"its worker was lost in {FRUITLESS_ROUNDS} launches")


def quoted(value: str) -> str:
    """Return a text as Hydra's grammar quotes it."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def _absolute(execution: ExecutionConfig) -> dict[str, Any]:
    """Return the plain values of `execution`, its data folder as an absolute path."""
    root = execution.data_root
    return plain(execution) | {"data_root": None if root is None else str(Path(root).expanduser().resolve())}


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    """Let Hydra, which reads sys.argv, see these arguments."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _sigint_for_other_threads() -> Iterator[None]:
    """Let Ctrl-C reach this process by another thread than this one, whose mask the processes that it starts inherit.

    They are not to heed it: whoever started them tells them when to stop.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
