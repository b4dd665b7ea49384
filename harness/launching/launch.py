"""Run a sweep in parallel, in isolated processes, resumable after any interruption.

Hydra's launcher gets the list of runs still to do; each of its workers passes them to a child process that trains
(`harness.launching.supervisor`), so that what kills a training kills neither the worker nor the sweep. If a worker dies, the
remaining runs are launched again; if this process dies, its workers exit (`harness.launching.parent_watch`). State on disk is the
truth: a job is a run's folder, which holds its status and results; the rest is in the folder of the launch
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
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from harness.config.conf import conf_folder
from harness.config.execution import ExecutionConfig
from harness.config.flat import plain
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.launching import handover
from harness.launching.display import Display
from harness.launching.parent_watch import exit_with_parent, workers_exit_with_this_process
from harness.launching.supervisor import Supervisor, set_state
from harness.launching.sweep import Report, Sweep, cost
from harness.launching.worker import run_jobs
from harness.records import paths, reader, results_folder, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, create
from harness.system import locks
from harness.system.cores import available_cores, threads_here
from harness.system.signals import Stop, enclosing_stop, stop_on_signals

log = logging.getLogger("harness")

RUNS_PER_GPU_PROCESS = 4
"""Runs that share a process on a GPU where `runs_per_process` is auto; not measured yet: benchmarks/gpu/check.py does."""
MOVED = "it, or .launch in it, was moved or removed while its runs were trained; what they had not saved before is lost"
FRUITLESS_ROUNDS = 3
"""Launches in a row without a run that ends, after which the remaining runs are given up."""
_supervisor = Supervisor()
"""The supervisor of this process, which is the command or a worker of the launcher: a worker gets one job after another."""


def prepare(sweep: Sweep, report: Report = lambda done, total: None) -> list[RunConfig]:
    """Write sweep.json and the folders of the runs still to do; return those runs, the most expensive first.

    `report` is called with the number of runs checked so far and their total. Raises ChoiceError, before anything is trained,
    if something below results keeps runs from being written or locked.
    """
    from harness.training.devices import slow_precision_warning

    results_folder.check(sweep.results)
    names, left = sweep.names, []
    try:
        for number, config in enumerate(sweep.configs, 1):
            if not _is_finished(config, sweep.results):
                left.append(config)
            report(number, len(names))
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ChoiceError(f"{error.filename}: is not a folder; move it away") from error
    except locks.LockError as error:
        raise ChoiceError(str(error)) from error
    if (path := sweep.folder / paths.SWEEP).is_dir():
        log.warning("%s: is not a file; it is kept as %s", path, writer.set_aside(path).name)
    writer.write_json(path, {"experiment": sweep.experiment, "command": sweep.command, "runs": names})
    if reused := len(names) - len(left):
        log.info("%d of %d runs were done before and are reused", reused, len(names))
    for message in filter(None, (sweep.decided, slow_precision_warning(left))):
        log.info(message)
    return sorted(left, key=cost, reverse=True)


def _is_finished(config: RunConfig, results: Path) -> bool:
    """Create the run's folder if needed and return whether the run is finished; a run of another process is left alone."""
    with locks.try_lock(paths.lock(results, config.run_name())) as locked:
        return locked and create(config, results).finished()


def run_sweep(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str]) -> bool:
    """Train the runs, by Hydra's launcher unless there is only one; return False if Ctrl-C or SIGTERM stopped the sweep.

    Raises OSError if results were moved or removed.
    """
    left, fruitless, waited = list(configs), 0, False
    with stop_on_signals() as stop:
        while left and not stop:
            with (
                handover.launch_folder(sweep.results) as folder,
                handover.forward_stop(stop, folder),
                Display(sweep.folder) as display,
            ):
                try:
                    _launch(_next(left), sweep, launcher, folder, display.is_live, stop)
                except (OSError, RecordError):
                    if not handover.is_gone(folder):
                        raise
                if handover.is_gone(folder):
                    if not stop:
                        raise FileNotFoundError(f"{sweep.results}: {MOVED}")
                    log.warning("%s: %s", sweep.results, MOVED)
                    return False
                ended, busy = (handover.noted_runs(folder, kind) for kind in (paths.ENDED, paths.BUSY))
                if handover.is_stopping(folder) and not stop:
                    stop.request(signal.SIGTERM)
            left = [config for config in left if config.run_name() not in ended]
            fruitless = 0 if ended or busy else fruitless + 1
            if left and not stop and fruitless == FRUITLESS_ROUNDS:
                _give_up(left, sweep.results)
                break
            if busy and not ended:
                if not waited:
                    log.info("another sweep is training the remaining runs; waiting for it")
                waited = True
                time.sleep(1.0)
        return not stop


def _next(left: Sequence[RunConfig]) -> Sequence[RunConfig]:
    """Return the runs to launch next: those from scratch, then those that start from another run."""
    return [config for config in left if config.shallower() is None] or left


def _launch(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str], folder: Path, quiet: bool, stop: Stop) -> None:
    """Train the runs by Hydra's launcher; their states are then in their folders, and in `folder` which of them ended."""
    serial, alone = "hydra/launcher=basic" in launcher, len(configs) == 1 and not launcher
    jobs = [[_job(config) for config in group] for group in process_groups(configs)]
    chosen = [override for override in launcher if override.startswith("hydra/launcher=")]
    joblib = not chosen or "joblib" in chosen[-1]
    common = {"results": str(sweep.results), "command": sweep.command, "quiet": quiet}
    where = {"apart": not serial, "elsewhere": not joblib}
    writer.write_json(folder / paths.JOBS, where | {"common": common, "groups": jobs})
    if alone:
        with _supervisor:
            run_group(folder, 0)
        return
    workers = max(1, min(_at_a_time(configs), len(jobs)))
    choice = [f"hydra.launcher.n_jobs={workers}"] if joblib else []
    quoted = QuotedString(str(folder), Quote.single).with_quotes()
    arguments = ["-m", f"folder={quoted}", f"job=range({len(jobs)})", *choice, *launcher]
    main = hydra.main(config_path=str(conf_folder()), config_name="launch", version_base="1.3")(work)
    try:
        with _supervisor, _command_line(arguments), _block_sigint(), workers_exit_with_this_process():
            main()
    except BrokenProcessPool:
        if not stop:
            log.warning("a worker was lost; the remaining runs are launched again")


def work(cfg: DictConfig) -> None:
    """Train one group of a launch, in the process and on the machine that the launcher chose."""
    run_group(Path(cfg.folder), cfg.job)


def run_group(folder: Path, number: int) -> None:
    """Train group `number` of the launch in `folder` unless a stop was requested, and note there which of its runs ended."""
    if _is_stopping(folder):
        return
    launched = reader.read_json(folder / paths.JOBS)
    jobs = [launched["common"] | job for job in launched["groups"][number]]
    if not launched["apart"]:
        ended = run_jobs(jobs)
    else:
        if launched["elsewhere"]:
            exit_with_parent(os.getppid())
        ended = _supervisor.train(jobs, partial(_is_stopping, folder))
    for job, state in zip(jobs, ended, strict=True):
        if state == states.INTERRUPTED and (not launched["apart"] or _is_stopping(folder)):
            handover.stop(folder)
        else:
            handover.note(folder, paths.BUSY if state is None else paths.ENDED, job["run"])


def _is_stopping(folder: Path) -> bool:
    return bool(enclosing_stop()) or handover.is_stopping(folder)


def process_groups(configs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """Group runs of equal device and number of threads, in their order, into groups that share a process."""
    by_kind: dict[Any, list[list[RunConfig]]] = {}
    for config in configs:
        size = config.execution.runs_per_process
        if size == "auto":
            size = RUNS_PER_GPU_PROCESS if _on_a_gpu(config) else 1
        alike = by_kind.setdefault((config.torch_device, config.threads, size), [[]])
        if len(alike[-1]) == size:
            alike.append([])
        alike[-1].append(config)
    in_turn = zip_longest(*by_kind.values())  # one of each device in turn, so that each has work from the start
    return [group for groups in in_turn for group in groups if group is not None]


def _at_a_time(configs: Sequence[RunConfig]) -> int:
    """Return the number of processes that train concurrently: one per GPU, else as many as the cores allow."""
    if gpus := {config.torch_device for config in configs if _on_a_gpu(config)}:
        return len(gpus)
    return available_cores() // max(threads_here(config.threads) for config in configs)


def _on_a_gpu(config: RunConfig) -> bool:
    return config.device.startswith("cuda")


def _job(config: RunConfig) -> dict[str, Any]:
    return {"run": config.run_name(), "choices": config.choices(), "execution": _absolute(config.execution)}


def _give_up(configs: Sequence[RunConfig], results: Path) -> None:
    """Mark runs as killed that did not end although they were launched FRUITLESS_ROUNDS times."""
    for config in configs:
        run = Run(paths.run_folder(results, config.run_name()))
        with locks.try_lock(paths.lock(results, run.name)) as locked:
            if locked and not run.finished():
                set_state(run, states.KILLED, error=f"its worker was lost in {FRUITLESS_ROUNDS} launches")


def _absolute(execution: ExecutionConfig) -> dict[str, Any]:
    """Return the plain values of `execution`, its data folder as an absolute path."""
    root = execution.data_root
    return plain(execution) | {"data_root": None if root is None else str(Path(root).expanduser().resolve())}


@contextmanager
def _command_line(arguments: list[str]) -> Iterator[None]:
    """Replace the command-line arguments for Hydra, which reads sys.argv."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _block_sigint() -> Iterator[None]:
    """Block SIGINT in this thread, and so in the processes that it starts; another thread of this process still gets it.

    The processes must not react to Ctrl-C themselves: their parent tells them when to stop.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
