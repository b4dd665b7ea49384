"""A run on disk: how its files are written, and how they are read back (`harness.contents` says what they hold).

The sole owner of file formats. Files appear whole or not at all (written aside, then renamed). Numbers
are written so that reading gives the same bits; the text `none` stays text.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import layout, locks
from harness.config import GradientNorms, RunConfig, with_defaults
from harness.contents import COLUMNS

log = logging.getLogger("harness")

TEXT = ("name", "kind")
EXACT: Mapping[str, Any] = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
"""What makes pandas read a number to the bit; since 3.1 it always does."""
WAITING, RUNNING, INTERRUPTED = "waiting", "running", "interrupted"
DONE, DIVERGED, FAILED, KILLED, DAMAGED = "done", "diverged", "failed", "killed", "damaged"
STATES = (WAITING, RUNNING, INTERRUPTED, DONE, DIVERGED, FAILED, KILLED)
FINISHED = (DONE, DIVERGED)


class RecordError(Exception):
    """A record that is missing, or that cannot be read as what it should be."""


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file whole: aside in the same folder, flushed to disk if `durable`, then renamed over `path`.

    The folder is made if need be; the one above must exist, so that results that were moved away are not begun anew.
    """
    path.parent.mkdir(exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, durable: bool = True) -> None:
    write_bytes(path, text.encode(), durable)


def write_json(path: Path, content: Mapping[str, Any], durable: bool = True) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n", durable)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; raises RecordError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"{path}: missing") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RecordError(f"{path}: holds no JSON object")
    return content


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, gzipped where the name ends in .gz, the same bytes for the same table."""
    text = table.to_csv(index=False, na_rep="", lineterminator="\n").encode()
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
            file.write(text)
        text = packed.getvalue()
    write_bytes(path, text)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of a run, or only some columns of it; raises RecordError if it is missing, damaged or lacks a column."""
    if path.suffix == ".npz":
        return _read_vectors(path, columns)
    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        header = next(csv.reader(io.TextIOWrapper(io.BytesIO(text), "utf-8")), [])
        if lacking := [name for name in (*COLUMNS.get(path.name, ()), *(columns or ())) if header and name not in header]:
            raise RecordError(f"{path}: lacks the column {lacking[0]}")
        wanted = header if columns is None else list(columns)
        gaps = {name: [""] for name in wanted if name not in TEXT}
        table = pd.read_csv(io.BytesIO(text), usecols=wanted or None, keep_default_na=False, na_values=gaps, **EXACT)
    except FileNotFoundError:
        raise RecordError(f"{path}: missing") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    return table if columns is None else table[wanted]


def write_vectors(path: Path, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write vectors of equal length by their names, the same bytes for the same vectors."""
    packed, named = io.BytesIO(), dict[str, Any](vectors)
    np.savez(packed, **named)
    write_bytes(path, packed.getvalue())


def _read_vectors(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = ["step", *archive.files] if columns is None else list(columns)
            if lacking := [name for name in wanted if name not in ("step", *archive.files)]:
                raise RecordError(f"{path}: lacks the column {lacking[0]}")
            vectors = {name: archive[name] for name in wanted if name != "step"}
            length = len(archive[archive.files[0]])
        return pd.DataFrame({"step": np.arange(length), **vectors})[wanted]
    except FileNotFoundError:
        raise RecordError(f"{path}: missing") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error


def rows(name: str, content: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as the table `name`, its columns in order; raises KeyError for a column that it does not have."""
    columns = COLUMNS.get(name)
    table = pd.DataFrame(list(content), columns=None if columns is None else list(columns))
    for row in content[:1]:
        if columns and (extra := set(row) - set(columns)):
            raise KeyError(f"{name} has no column {sorted(extra)[0]}")
    return table


@dataclass(frozen=True)
class Run:
    """A run's folder, read from disk when asked."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The choices, as in config.json, with the defaults of keys that came later."""
        return with_defaults(read_json(self.folder / layout.CONFIG))

    @property
    def status(self) -> dict[str, Any]:
        """The state, step, times and error text, as they stand now."""
        status = read_json(self.folder / layout.STATUS)
        if status.get("state") not in STATES:
            raise RecordError(f"{self.folder / layout.STATUS}: names no state")
        return status

    @property
    def state(self) -> str:
        return str(self.status["state"])

    @cached_property
    def environment(self) -> dict[str, Any]:
        return read_json(self.folder / layout.ENVIRONMENT)

    @cached_property
    def steps(self) -> pd.DataFrame:
        return read_table(self.folder / layout.STEPS)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return read_table(self.folder / layout.EPOCHS)

    @cached_property
    def layers(self) -> pd.DataFrame:
        return self.probe("layers")

    @cached_property
    def blocks(self) -> pd.DataFrame:
        return self.probe("blocks")

    def probe(self, name: str) -> pd.DataFrame:
        """Return the rows of the probe `name`."""
        return read_table(self.folder / layout.probe_table(name))

    @property
    def train_error(self) -> float:
        """Error on the training images at the end, without augmentation, in evaluation mode, in percent."""
        return float(self.epochs["train_error"].iloc[-1])

    @property
    def test_error(self) -> float:
        """Error on the test images at the end, in percent."""
        return float(self.epochs["test_error"].iloc[-1])

    @property
    def state_now(self) -> str:
        """The state, interrupted where the status says running and no process holds the run's lock."""
        state, results = self.state, self.folder.parent.parent
        running = state == RUNNING and not locks.is_held(layout.lock(results, self.name))
        return INTERRUPTED if running else state

    @property
    def has_status(self) -> bool:
        return (self.folder / layout.STATUS).is_file()

    @property
    def checked_files(self) -> tuple[str, ...]:
        """The files whose checksums a finished run records: all but its status and its log."""
        tables = [layout.table(name) for name in ("steps", "epochs", *self.config["probes"])]
        if self.config["gradient_norms"] == GradientNorms.every:
            tables.append(layout.GRADIENT_NORMS)
        return (layout.CONFIG, layout.ENVIRONMENT, layout.WEIGHTS, *tables)

    def check(self, but: Collection[str] = ()) -> None:
        """Raise RecordError naming the first file that is missing, unreadable or not what its checksum says.

        `but` names files that need not be there. Of an unfinished run, which has no checksums, only the status is read.
        """
        if not self.has_status:
            if (self.folder / layout.CONFIG).exists() or not any(self.folder.iterdir()):
                return  # made, and cut off before it began
            raise RecordError(f"{self.folder / layout.STATUS}: missing")
        status = self.status
        if status["state"] in FINISHED:
            for name, expected in status.get("sha256", {}).items():
                path = self.folder / name
                if not path.is_file():
                    if name not in but:
                        raise RecordError(f"{path}: missing")
                elif _sha256(path) != expected:
                    raise RecordError(f"{path}: damaged: its checksum is not the recorded one")

    def finished(self) -> bool:
        """Return whether the run came to a result, a diverged one included."""
        try:
            return self.state in FINISHED
        except RecordError:
            return False


def create(config: RunConfig, results: Path) -> Run:
    """Return the run of `config` below `results`, its folder made, and waiting unless it was begun before.

    A folder that is not what its records say is set aside, never deleted. The caller holds the run's lock.
    """
    run = Run(layout.run_folder(results, config.run_name()))
    if run.folder.exists():
        try:
            run.check()
        except RecordError as error:
            begun = (run.folder / layout.CHECKPOINT).exists()
            aside = set_aside(run.folder / layout.STATUS if begun else run.folder)
            log.warning("%s; it is kept as %s, and the run is done again", error, aside.name)
    _clear(run)
    if not run.finished():
        run.folder.mkdir(parents=True, exist_ok=True)
        write_json(run.folder / layout.CONFIG, config.choices())
        begun = (run.folder / layout.CHECKPOINT).exists()
        facts = {key: value for key, value in run.status.items() if key != "state"} if begun and run.has_status else {}
        write_status(run, INTERRUPTED if begun else WAITING, **({"step": 0, "steps": config.schedule.steps} | facts))
    return run


def _clear(run: Run) -> None:
    """Remove what a process that was killed in the middle of a write left behind."""
    for path in run.folder.glob(".*"):
        path.unlink()
    if run.finished():
        (run.folder / layout.CHECKPOINT).unlink(missing_ok=True)


def write_status(run: Run, state: str, durable: bool = True, **facts: Any) -> None:
    """Replace status.json by `state` and `facts`."""
    write_json(run.folder / layout.STATUS, {"state": state, **facts}, durable)


def conclude(run: Run, state: str, **facts: Any) -> None:
    """Write the state in which a run ended; of a finished one with the checksums of its files, its checkpoint removed."""
    if state in FINISHED:
        facts["sha256"] = {path.name: _sha256(path) for path in sorted(run.folder.iterdir()) if path.name in run.checked_files}
    write_status(run, state, **facts)
    if state in FINISHED:
        (run.folder / layout.CHECKPOINT).unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, and return its new place."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
