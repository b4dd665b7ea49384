"""MLflow: one SQLite database for all runs."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.config.registry import TRACKER
from harness.records import states
from harness.tracking import PROJECT
from harness.tracking.scalars import Scalars

BATCH = 1000
"""Maximum metrics of one request."""
ENDS = {states.DONE: "FINISHED", states.INTERRUPTED: "KILLED", states.KILLED: "KILLED", states.FAILED: "FAILED"}
"""MLflow's states of runs that have ended. It knows none for a diverged run, which is a result."""


@TRACKER.register("mlflow")
class MLflow:
    """FOLDER/mlflow.db. An earlier entry of a run is marked as deleted: MLflow shows it only on demand."""

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Any]) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock, self._metric = folder / "mlflow.lock", Metric
        with self._locked():
            self._client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
            with suppress(MlflowException):  # it exists
                self._client.create_experiment(PROJECT, artifact_location=str(folder / "artifacts"))
            experiment = self._client.get_experiment_by_name(PROJECT).experiment_id
            for earlier in self._client.search_runs([experiment], f"attributes.run_name = '{name}'"):
                self._client.delete_run(earlier.info.run_id)
            self._id = self._client.create_run(experiment, run_name=name).info.run_id
            self._client.log_batch(self._id, params=[Param(key, str(value)) for key, value in choices.items()])

    def write(self, rows: Sequence[Scalars]) -> None:
        now = int(1000 * time.time())
        metrics = [self._metric(name, value, now, step) for step, values in rows for name, value in values.items()]
        for first in range(0, len(metrics), BATCH):
            with self._locked():
                self._client.log_batch(self._id, metrics[first : first + BATCH])

    def close(self, state: str) -> None:
        with self._locked():
            self._client.set_tag(self._id, "state", state)
            self._client.set_terminated(self._id, ENDS.get(state, "FINISHED"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other processes: two that create the database at once damage it, and many writers exceed its time limit."""
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
