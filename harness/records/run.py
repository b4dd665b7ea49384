"""Read and create a run's folder, and change the state of the run. `harness.records.schema` describes its files."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config.flat import flatten
from harness.config.registry import ChoiceError, shown
from harness.config.run import GradientNorms, RunConfig, with_defaults
from harness.records import paths
from harness.records.reader import RecordError, open_file, read_json, read_table
from harness.records.schema import RUN_FILES
from harness.records.states import FINISHED, INTERRUPTED, RUNNING, WAITING
from harness.records.writer import set_aside, write_json
from harness.system import locks

log = logging.getLogger("harness")

CHUNK = 2**22
"""Bytes of a file that are read at a time for its checksum."""


@dataclass(frozen=True)
class Run:
    """A run's folder, read from disk on access."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of config.json, with defaults for keys that were added later."""
        return with_defaults(read_json(self.folder / paths.CONFIG))

    @property
    def status(self) -> dict[str, Any]:
        """The current content of status.json."""
        return read_json(self.folder / paths.STATUS)

    @property
    def state(self) -> str:
        return str(self.status["state"])

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_json(self.folder / paths.ENVIRONMENT)

    @cached_property
    def steps(self) -> pd.DataFrame:
        return read_table(self.folder / paths.STEPS)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return read_table(self.folder / paths.EPOCHS)

    @cached_property
    def layers(self) -> pd.DataFrame:
        return self.probe("layers")

    @cached_property
    def blocks(self) -> pd.DataFrame:
        return self.probe("blocks")

    def probe(self, name: str) -> pd.DataFrame:
        """Return the table of the probe `name`."""
        return read_table(self.folder / paths.probe_table(name))

    @property
    def train_error(self) -> float:
        """Error on the training images at the end, without augmentation and in evaluation mode, in percent."""
        return float(self.epochs["train_error"].iloc[-1])

    @property
    def test_error(self) -> float:
        """Error on the test images at the end, in percent."""
        return float(self.epochs["test_error"].iloc[-1])

    @property
    def state_now(self) -> str:
        """The state; interrupted if status.json says running but no process holds the run's lock."""
        state, results = self.state, self.folder.parent.parent
        running = state == RUNNING and not locks.is_held(paths.lock(results, self.name))
        return INTERRUPTED if running else state

    @property
    def has_status(self) -> bool:
        """Whether status.json exists, readable or not."""
        return os.path.lexists(self.folder / paths.STATUS)

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables of the finished run; before its end, those without rows are missing from its folder."""
        every = ("gradient_norms",) if self.config["gradient_norms"] == GradientNorms.every else ()
        return ("steps", "epochs", *self.config["probes"], *every)

    @property
    def checked_files(self) -> tuple[str, ...]:
        """Names of the files whose checksums a finished run records: all except its status and its log."""
        return (paths.CONFIG, paths.ENVIRONMENT, paths.WEIGHTS, *map(paths.table, self.table_names))

    def check(self, optional: Collection[str] = ()) -> None:
        """Raise RecordError for the first file that is missing, unreadable or does not match its checksum.

        Files named in `optional` may be missing. An unfinished run has no checksums: only its status is checked.
        """
        if not self.folder.is_dir():
            raise RecordError(f"{self.folder}: {'is not a folder' if os.path.lexists(self.folder) else 'missing'}")
        if not self.has_status:
            if (self.folder / paths.CONFIG).exists() or not any(self.folder.iterdir()):
                return  # interrupted while it was created
            raise RecordError(f"{self.folder / paths.STATUS}: missing")
        status = self.status
        if status["state"] not in FINISHED:
            return
        if "sha256" not in status:
            raise RecordError(f"{self.folder / paths.STATUS}: sha256: missing")
        for name, recorded in status["sha256"].items():
            path = self.folder / name
            absent = name in optional and not os.path.lexists(path)
            if not absent and _sha256(path) != recorded:
                raise RecordError(f"{path}: damaged: its checksum differs from the recorded one")

    def misplaced(self) -> list[Path]:
        """Return the paths of the run's files, except its status, that exist but are not files (folders, pipes)."""
        names = {*RUN_FILES, paths.RESERVE} - {paths.STATUS} | {path.name for path in self.folder.glob("*.csv.gz")}
        return [path for name in sorted(names) if os.path.lexists(path := self.folder / name) and not path.is_file()]

    def check_owned(self) -> None:
        """Raise LeaseLost if this process held the run's lock and another has taken it over."""
        locks.check_owned(paths.lock(self.folder.parent.parent, self.name))

    def finished(self) -> bool:
        """Return whether the run has a result; a diverged run has a result."""
        try:
            return self.state in FINISHED
        except RecordError:
            return False


def find_runs(folder: Path) -> list[Run]:
    """Return the run in a folder, or the runs of a sweep or finding, including damaged ones.

    Raises RecordError if the folder is none of these.
    """
    if os.path.lexists(folder / paths.CONFIG):
        return [Run(folder)]
    return [Run(paths.runs_of(folder) / name) for name in read_json(folder / paths.SWEEP)["runs"]]


def create(config: RunConfig, results: Path) -> Run:
    """Return the run of `config` below `results`; create its folder, or set its state to waiting or interrupted.

    Damaged files are set aside, never deleted. The caller must hold the run's lock.

    Raises:
        ChoiceError: if the recorded choices differ. The folder's name does not reveal that a default has changed.
    """
    run = Run(paths.run_folder(results, config.run_name()))
    checkpoint = run.folder / paths.CHECKPOINT
    if os.path.lexists(run.folder):
        _repair(run)
        if run.finished() or checkpoint.exists():
            _check_same_choices(run, config)
    if not run.finished():
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / paths.CONFIG, config.choices())
        resumes = checkpoint.exists()
        facts = {key: value for key, value in run.status.items() if key != "state"} if resumes and run.has_status else {}
        write_status(run, INTERRUPTED if resumes else WAITING, **({"step": 0, "steps": config.schedule.steps} | facts))
    return run


def _check_same_choices(run: Run, config: RunConfig) -> None:
    """Raise ChoiceError if the recorded value of a key differs, for example because its default has changed."""
    try:
        recorded = flatten(run.config)
    except RecordError as error:  # the run is unfinished, and the choices of its checkpoint are unknown
        log.warning("%s; the checkpoint is kept as %s", error, set_aside(run.folder / paths.CHECKPOINT).name)
        return
    requested = flatten(config.choices())
    keys = [key for key in recorded | requested if recorded.get(key) != requested.get(key) and key != "plugins"]
    if keys:
        pairs = [f"{key}={shown(recorded.get(key))} there, {key}={shown(requested.get(key))} now" for key in keys]
        raise ChoiceError(f"{run.folder}: is a run with other choices ({'; '.join(pairs)}); move it away to train these")


def _repair(run: Run) -> None:
    """Set aside damaged files, and remove the temporary files of a killed process."""
    try:
        for path in run.misplaced():
            log.warning("%s: is not a file; it is kept as %s", path, set_aside(path).name)
        run.check()
        for path in run.folder.glob(".*"):
            if not path.is_dir():
                path.unlink()
        if run.finished():
            (run.folder / paths.CHECKPOINT).unlink(missing_ok=True)
    except (RecordError, OSError) as error:
        resumes = run.has_status and (run.folder / paths.CHECKPOINT).exists()
        aside = set_aside(run.folder / paths.STATUS if resumes else run.folder)
        log.warning("%s; it is kept as %s, and the run is repeated", error, aside.name)


def write_status(run: Run, state: str, durable: bool = True, **facts: Any) -> None:
    """Replace status.json by `state` and `facts`; with `durable`, flush it to disk.

    Raises LeaseLost if this process held the run's lock and another has taken it over.
    """
    run.check_owned()
    write_json(run.folder / paths.STATUS, {"state": state, **facts}, durable)


def conclude(run: Run, state: str, **facts: Any) -> None:
    """Write the final state of a run. A finished run gets the checksums of its files and loses its checkpoint."""
    if state in FINISHED:
        facts["sha256"] = {path.name: _sha256(path) for path in sorted(run.folder.iterdir()) if path.name in run.checked_files}
    write_status(run, state, **facts)
    if state in FINISHED:
        (run.folder / paths.CHECKPOINT).unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
