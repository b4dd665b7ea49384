"""Weights & Biases, offline: a folder for each run, which `wandb sync` uploads on demand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.registry import TRACKER
from harness.records import states
from harness.tracking import PROJECT
from harness.tracking.scalars import Scalars


@TRACKER.register("wandb")
class Wandb:
    """FOLDER/wandb/offline-run-TIME-RUN. The folder of an earlier entry is removed; the id is always the run's name.

    The horizontal axis is the scalar `step`, since the steps of W&B must not decrease.
    """

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Any]) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(f"wandb/offline-run-*-{name}"):
            shutil.rmtree(earlier)
        quiet = wandb.Settings(
            silent=True, console="off", symlink=False, disable_git=True, x_disable_meta=True, x_disable_stats=True
        )
        about = {"project": PROJECT, "id": name, "name": name, "dir": str(folder), "config": dict(choices)}
        self._run = wandb.init(**about, mode="offline", reinit="create_new", settings=quiet)
        self._run.define_metric("*", step_metric="step")

    def write(self, rows: Sequence[Scalars]) -> None:
        for step, values in rows:
            self._run.log({"step": step, **values})

    def close(self, state: str) -> None:
        self._run.summary["state"] = state
        self._run.finish(exit_code=0 if state in states.FINISHED else 1)
