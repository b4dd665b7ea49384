"""Trackio, local: one SQLite database for all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.registry import TRACKER
from harness.tracking import PROJECT
from harness.tracking.scalars import Scalars


@TRACKER.register("trackio")
class Trackio:
    """FOLDER/depth-harness.db, written without Trackio's server. An earlier entry of a run is deleted."""

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Any]) -> None:
        from trackio import sqlite_storage

        folder.mkdir(parents=True, exist_ok=True)
        sqlite_storage.TRACKIO_DIR = folder  # otherwise the environment variable at the time of the import
        self._storage, self._name, self._choices = sqlite_storage.SQLiteStorage, name, dict(choices)
        self._storage.init_db(PROJECT)
        self._storage.delete_run(PROJECT, name)

    def write(self, rows: Sequence[Scalars]) -> None:
        steps, values = [step for step, _ in rows], [values for _, values in rows]
        self._storage.bulk_log(PROJECT, self._name, values, steps, config=self._choices)

    def close(self, state: str) -> None:
        pass
