"""Carry out the runs of a sweep: in parallel, apart from each other, and to be gone on with whatever happens.

Hydra's launcher gets the list of runs that are still to do; each of its workers hands them to a child process that trains
(`harness.worker`), so that what kills a training kills neither the worker nor the sweep. Where a worker itself dies, the
runs that are left are launched again. State on disk is the truth: a job is a run's folder, and everything it has to say is
there.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from harness import layout, locks, records
from harness.config import RunConfig, available_cores
from harness.progress import Display
from harness.records import RecordError, Run
from harness.stopping import stop_on_signals
from harness.sweep import Sweep, conf_folder
from harness.worker import carry_out_job

log = logging.getLogger("harness")

POLL = 0.2
"""Seconds between two looks at whether to stop."""
FRUITLESS_ROUNDS = 3
"""Launches in a row that bring no run to its end before the rest is given up."""


def start(sweep: Sweep) -> list[RunConfig]:
    """Write sweep.json and the folders of the runs still to do; return those, the most expensive first."""
    names = [config.run_name() for config in sweep.configs]
    sweep.folder.mkdir(parents=True, exist_ok=True)
    records.write_json(sweep.folder / layout.SWEEP, {"experiment": sweep.experiment, "command": sweep.command, "runs": names})
    left = [config for config in sweep.configs if not _done_before(config, sweep.results)]
    if reused := len(names) - len(left):
        log.info("%d of %d runs were done before and are reused", reused, len(names))
    return sorted(left, key=lambda config: -config.depth * config.schedule.steps * config.schedule.batch_size)


def _done_before(config: RunConfig, results: Path) -> bool:
    """Make the run's folder unless it is there; return whether the run is finished. Another process's run is left alone."""
    with locks.held(layout.lock(results, config.run_name())) as mine:
        if mine:
            return records.create(config, results).finished()
    return False


def carry_out_all(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str]) -> bool:
    """Bring the runs to an end, through Hydra's launcher unless there is only one; return whether all was carried out.

    False means that it was stopped by Ctrl-C or SIGTERM, everything saved.
    """
    left, fruitless = list(configs), 0
    with stop_on_signals() as stop:
        while left and not stop:
            with _launch_folder(sweep.results) as folder, Display(sweep.folder, stop, folder / layout.STOP) as display:
                _launch(left, sweep, launcher, folder, quiet=display.draws)
                ended = {path.name for path in (folder / layout.ENDED).iterdir()}
                busy = {path.name for path in (folder / layout.BUSY).iterdir()}
                if (folder / layout.STOP).exists() and not stop:
                    stop.ask(signal.SIGTERM)
            left = [config for config in left if config.run_name() not in ended]
            fruitless = 0 if ended or busy else fruitless + 1
            if left and not stop and fruitless == FRUITLESS_ROUNDS:
                _give_up(left, sweep.results)
                break
            if busy and not ended:
                time.sleep(1.0)  # another sweep trains what is left
        return not stop


def _launch(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str], folder: Path, quiet: bool) -> None:
    """Hand the runs to Hydra's launcher and wait; what became of them is on disk, in their folders and in `folder`."""
    serial = "hydra/launcher=basic" in launcher or (len(configs) == 1 and not launcher)
    jobs = [{"run": c.run_name(), "choices": c.choices(), "places": _absolute(c.places())} for c in configs]
    chosen = [override for override in launcher if override.startswith("hydra/launcher=")]
    parent = None if chosen and "joblib" not in chosen[-1] else os.getpid()  # other launchers start their jobs elsewhere
    common = {"results": str(sweep.results), "command": sweep.command, "apart": not serial, "quiet": quiet, "parent": parent}
    records.write_json(folder / layout.JOBS, common | {"jobs": jobs})
    for name in (layout.ENDED, layout.BUSY):
        (folder / name).mkdir()
    if serial and not launcher:
        carry_out_one(folder, 0)
        return
    threads = max(int(config.threads) for config in configs)
    workers = max(1, min(available_cores() // threads, len(jobs)))
    choice = [f"hydra.launcher.n_jobs={workers}"] if parent and not serial else []
    arguments = ["-m", f"folder={quoted(str(folder))}", f"job=range({len(jobs)})", *choice, *launcher]
    main = hydra.main(config_path=str(conf_folder()), config_name="launch", version_base="1.3")(work)
    try:
        with _arguments(arguments):
            main()
    except Exception as error:  # a launcher whose worker was killed raises whatever it likes
        log.warning("a worker was lost (%s); what is left is launched again", type(error).__name__)


def work(cfg: DictConfig) -> None:
    """Carry out one job of a launch, in whatever process or machine the launcher chose."""
    carry_out_one(Path(cfg.folder), cfg.job)


def carry_out_one(folder: Path, number: int) -> None:
    """Carry out job `number` of the launch in `folder` unless it is to stop, and note there that it ended."""
    jobs = records.read_json(folder / layout.JOBS)
    job = {**jobs, **jobs["jobs"][number]}
    del job["jobs"]
    if (folder / layout.STOP).exists():
        return
    if job["apart"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the sweep, by the file
        with _end_with_parent(job["parent"] or os.getppid()):
            state = _supervise(job, folder / layout.STOP)
    else:
        state = carry_out_job(job)
    if state == records.INTERRUPTED:
        (folder / layout.STOP).touch()
    elif state is not None:
        (folder / layout.ENDED / job["run"]).touch()
    else:
        (folder / layout.BUSY / job["run"]).touch()


class Trainer:
    """A child process that trains one run after the other; it ends when this process does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def train(self, job: dict[str, Any], stop: Path) -> tuple[bool, str | None]:
        """Return (whether the child lives, the state in which it left the run); it is asked to save once `stop` exists.

        It is asked too when the process that launched this one is gone.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        parent, asked = job["parent"] or os.getppid(), False
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        while True:
            if select.select([self.process.stdout], [], [], POLL)[0]:
                answer = self.process.stdout.readline()
                if not answer:
                    self.process.wait()
                    return False, records.INTERRUPTED if asked else None
                state: str | None = json.loads(answer)
                return True, state
            orphaned = os.getppid() != parent
            if not asked and (orphaned or stop.exists()):
                self.process.terminate()
                asked = True


@cache
def _end_with_parent(parent: int) -> threading.Lock:
    """Watch from now on whether the process that started this worker lives, and end with it when no run is in hand.

    The lock is held while one is.
    """
    busy = threading.Lock()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL)
        with busy:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return busy


_trainer: list[Trainer] = []
"""This worker's trainer, kept from run to run since starting one imports torch."""


def _supervise(job: dict[str, Any], stop: Path) -> str | None:
    """Have the job's run trained apart; return its state, killed if the trainer died, None if another process has the run."""
    if not _trainer:
        _trainer.append(Trainer())
    lives, state = _trainer[0].train(job, stop)
    if lives:
        return state
    code = _trainer.pop().process.returncode
    run = Run(layout.run_folder(Path(job["results"]), job["run"]))
    if state == records.INTERRUPTED:
        _note(run, records.INTERRUPTED)
        return records.INTERRUPTED
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    reason = f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")
    _note(run, records.KILLED, error=reason)
    log.warning("%s: %s", run.name, reason)
    return records.KILLED


def _give_up(configs: Sequence[RunConfig], results: Path) -> None:
    """Mark what could not be brought to an end although it was launched again and again."""
    for config in configs:
        run = Run(layout.run_folder(results, config.run_name()))
        with locks.held(layout.lock(results, run.name)) as mine:
            if mine and not run.finished():
                _note(run, records.KILLED, error=f"its worker was lost in {FRUITLESS_ROUNDS} launches")


def _note(run: Run, state: str, **more: Any) -> None:
    """Write the state of a run whose process is gone, the rest of its status kept."""
    try:
        facts = {key: value for key, value in run.status.items() if key != "state"}
    except RecordError:
        facts = {}
    records.write_status(run, state, **(facts | more))


def quoted(value: str) -> str:
    """Return a text as Hydra's grammar quotes it."""
    return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def _absolute(places: dict[str, Any]) -> dict[str, Any]:
    root = places["data"]["root"]
    absolute = None if root is None else str(Path(root).expanduser().resolve())
    return places | {"data": places["data"] | {"root": absolute}}


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
def _launch_folder(results: Path) -> Iterator[Path]:
    """Give a folder for what Hydra, its launcher and its workers write, and remove it afterwards."""
    (results / layout.LAUNCH).mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=results / layout.LAUNCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for empty in (folder.parent, results / layout.LOCKS):
            with suppress(OSError):
                empty.rmdir()
