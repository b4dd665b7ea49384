"""Train a sweep: start workers where the launcher says, and others in place of those that are lost, until all runs have ended.

What the runs' folders say decides what is done next. A lost, preempted or cancelled worker leaves a run that has not ended, and
another worker takes it up from its last checkpoint; so the same command goes on where an earlier one ended, in whatever way.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.config.registry import LAUNCHER, ChoiceError
from harness.config.run import RunConfig
from harness.launching import job
from harness.launching.display import Display
from harness.launching.engine import Engine, LaunchError
from harness.launching.worker import runs_per_process
from harness.planning.sweep import Report, Sweep
from harness.records import paths, results_folder, writer
from harness.records.run import Run, create
from harness.system import locks
from harness.system.signals import Stop, stop_on_signals

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two looks at the workers."""
STOP_SECONDS = 120.0
"""Seconds that workers may take to save and end when asked to: the default of `checkpoint_minutes`, so no more is lost."""
FRUITLESS = 3
"""Rounds of workers in a row that end without any run changing, after which the sweep is given up."""
START_PAUSE, RETRY_PAUSE = 1.0, 30.0
"""Seconds between two starts of workers, and after a start that was refused while other workers live."""
MOVED = "it, or the sweep in it, was moved or removed while its runs were trained; what they had not saved is lost"


def prepare(sweep: Sweep, report: Report = lambda done, total: None) -> list[RunConfig]:
    """Write sweep.json and the folders of the runs still to do; return those runs.

    `report` is called with the number of runs checked so far and their total. Raises ChoiceError, before anything is trained,
    if something below results keeps runs from being written or locked.
    """
    from harness.training.auto import slow_precision_warning

    results_folder.check(sweep.results)
    names, left = sweep.names, []
    try:
        for number, config in enumerate(sweep.configs, 1):
            if not _is_finished(config, sweep):
                left.append(config)
            report(number, len(names))
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ChoiceError(f"{error.filename}: is not a folder; move it away") from error
    except locks.LockError as error:
        raise ChoiceError(str(error)) from error
    if (path := sweep.folder / paths.SWEEP).is_dir():
        log.warning("%s: is not a file; it is kept as %s", path, writer.set_aside(path).name)
    writer.write_json(path, {"experiment": sweep.experiment, "command": sweep.command, "runs": names, **sweep.record})
    if reused := len(names) - len(left):
        log.info("%d of %d runs were done before and are reused", reused, len(names))
    for message in filter(None, (sweep.decided, slow_precision_warning(left))):
        log.info(message)
    return left


def _is_finished(config: RunConfig, sweep: Sweep) -> bool:
    """Prepare the run's folder unless it is finished; return whether it is. A run of another process is left alone."""
    with locks.try_lock(paths.lock(sweep.results, config.run_name())) as locked:
        if not locked:
            return False
        run = create(config, sweep.results)
        if run.finished():
            job.end(run)
            return True
        job.write(run, config, sweep.command)
        return False


def run_sweep(configs: Sequence[RunConfig], sweep: Sweep) -> bool:
    """Train the runs; return False if Ctrl-C or SIGTERM stopped the sweep.

    Raises:
        OSError: if the results were moved or removed.
        LaunchError: if workers cannot be started.
    """
    if not configs:
        return True
    with stop_on_signals() as stop, Display(sweep.folder) as display:
        engine: Engine = LAUNCHER[sweep.launcher.name](sweep.launcher, sweep.folder, configs, display.is_live)
        try:
            runs = {Run(paths.run_folder(sweep.results, config.run_name())): config for config in configs}
            Loop(engine, sweep, runs, max(runs_per_process(config, engine.together) for config in configs)).run(stop)
        except BaseException as error:
            engine.finish()
            engine.close(wait=not isinstance(error, KeyboardInterrupt))  # a second Ctrl-C waits for nothing
            raise
        engine.close(wait=True)
        with suppress(OSError):
            (sweep.results / paths.LOCKS).rmdir()
    return not stop


def submit(configs: Sequence[RunConfig], sweep: Sweep) -> str:
    """Let the launcher train the runs and report without this process; return a sentence about that. Raises LaunchError."""
    engine: Engine = LAUNCHER[sweep.launcher.name](sweep.launcher, sweep.folder, configs, False)
    return engine.leave(len(configs))


class Loop:
    """The runs of a sweep that have not ended, `together` of which share a process, and the workers of an engine."""

    def __init__(self, engine: Engine, sweep: Sweep, runs: Mapping[Run, RunConfig], together: int) -> None:
        self._engine, self._sweep, self._runs, self._together = engine, sweep, list(runs), together
        self._foreign = {run: config for run, config in runs.items() if not job.is_left(run)}  # `prepare` found them locked
        self._next_start, self._fruitless, self._before = 0.0, 0, dict[Run, int]()
        self._told = False

    def run(self, stop: Stop) -> None:
        """Keep workers at work until all runs have ended, or until `stop`."""
        while not stop:
            live = self._engine.live()
            if not (left := self._left()):
                self._engine.finish()
                break
            if live < self._engine.most:
                self._record_losses(left)
                if time.monotonic() > self._next_start:
                    self._start_workers(left, live)
            time.sleep(POLL)
        else:
            if not self._is_there():
                log.warning("%s: %s", self._sweep.results, MOVED)
            self._engine.stop()
        self._wait_for_workers()

    def _is_there(self) -> bool:
        return (self._sweep.folder / paths.SWEEP).exists()

    def _lock(self, run: Run) -> Path:
        return paths.lock(self._sweep.results, run.name)

    def _left(self) -> list[Run]:
        """Return the runs that have not ended. Raises FileNotFoundError if the results were moved or removed."""
        if not self._is_there():
            raise FileNotFoundError(f"{self._sweep.results}: {MOVED}")
        for run in [run for run in self._foreign if not locks.is_held(self._lock(run))]:
            _is_finished(self._foreign.pop(run), self._sweep)
        self._runs = [run for run in self._runs if job.is_left(run) or (locks.is_held(self._lock(run)) and not run.finished())]
        return self._runs

    def _start_workers(self, left: Sequence[Run], live: int) -> None:
        """Start workers for the runs that no other sweep is training, as far as there is room.

        Raises LaunchError if workers keep ending without any run changing, or if none can be started.
        """
        owners = [owner for run in left if (owner := locks.owner(self._lock(run)))]
        foreign = sum(not self._engine.owns(owner) for owner in owners)
        count = min(self._engine.most - live, math.ceil((len(left) - foreign) / self._together) - live)
        if count <= 0:
            if not live and not self._told:
                log.info("another process is training the remaining runs; waiting for it")
                self._told = True
            return
        if not live:
            self._check_progress(left)
        self._next_start = time.monotonic() + START_PAUSE
        try:
            self._engine.start(count)
        except LaunchError as error:
            if not live:
                raise
            log.warning("%s", error)
            self._next_start = time.monotonic() + RETRY_PAUSE

    def _check_progress(self, left: Sequence[Run]) -> None:
        """Raise LaunchError if FRUITLESS rounds of workers have ended, and no run's status has changed."""
        now = {run: _changed(run) for run in left}
        self._fruitless = self._fruitless + 1 if now == self._before else 0
        self._before = now
        if self._fruitless == FRUITLESS:
            raise LaunchError(f"workers ended {FRUITLESS} times without training a run; {self._engine.why()}")

    def _record_losses(self, left: Sequence[Run]) -> None:
        """Record which runs lost their process, and how; free the locks of processes elsewhere that have died."""
        for run in left:
            path = self._lock(run)
            owner = locks.last_owner(path)
            if locks.owner(path) is None and (owner is not None or job.was_lost(run)):
                if owner is not None and self._engine.owns(owner):
                    continue  # its worker ended a moment ago; the engine will say how
                with locks.try_lock(path) as locked:  # only this process has watched the lease for long enough
                    if locked and job.is_left(run) and job.was_lost(run):
                        job.record_loss(run, self._engine.loss(owner) if owner else "its process was lost")

    def _wait_for_workers(self) -> None:
        """Wait until all workers have ended, at most STOP_SECONDS."""
        deadline = time.monotonic() + STOP_SECONDS
        while self._engine.live() and time.monotonic() < deadline:
            time.sleep(POLL)


def _changed(run: Run) -> int:
    """Return when the run's status changed, in nanoseconds; 0 without one."""
    with suppress(OSError):
        return (run.folder / paths.STATUS).stat().st_mtime_ns
    return 0
