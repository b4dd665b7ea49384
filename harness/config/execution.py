"""Where and how a run is computed. Nothing here changes a number of the run, so nothing here is part of its identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.config.registry import OBSERVER, TRACKER, unknown
from harness.config.validation import assign, check_flag, check_names, check_real, check_whole


@dataclass(frozen=True)
class ExecutionConfig:
    """Where and how a run is computed.

    Args:
        device_number: index N of device=cuda:N; None for the current GPU.
        data_root: folder that holds the data, `data.root` on the command line.
        data_download: whether missing data may be downloaded there, `data.download` on the command line.
        runs_per_process: number of runs of a sweep that share one process; auto: 1 on a CPU, 4 on a GPU.
        checkpoint_minutes: minutes between two checkpoints of an unfinished run.
        activation_checkpointing: keep only the inputs of blocks for the backward pass and recompute the rest.
        observers: names of observers (`harness.training.observers`) that watch the run.
        tracker: name of a tracker (`harness.tracking`) that is written while the run trains; none: no tracker.
    """

    device_number: int | None = None
    data_root: str | None = None
    data_download: bool = False
    runs_per_process: int | str = "auto"
    checkpoint_minutes: float = 2.0
    activation_checkpointing: bool = False
    observers: tuple[str, ...] = ("log",)
    tracker: str = "none"

    def __post_init__(self) -> None:
        if self.device_number is not None:
            check_whole("device_number", self.device_number, 0)
        if self.runs_per_process != "auto":
            check_whole("runs_per_process", self.runs_per_process, 1, also="auto")
        check_flag("activation_checkpointing", self.activation_checkpointing)
        observers = tuple(dict.fromkeys(check_names("observers", self.observers)))
        for observer in observers:
            OBSERVER.check(observer)
        if self.tracker not in (allowed := ("none", *TRACKER.names)):
            raise unknown("tracker", self.tracker, allowed)
        assign(self, checkpoint_minutes=check_real("checkpoint_minutes", self.checkpoint_minutes, least=0), observers=observers)


KEYS: Mapping[str, str] = {
    "data.root": "data_root",
    "data.download": "data_download",
    "runs_per_process": "runs_per_process",
    "checkpoint_minutes": "checkpoint_minutes",
    "activation_checkpointing": "activation_checkpointing",
    "observers": "observers",
    "tracker": "tracker",
}
"""The field behind each key of the command line. The index of a GPU is part of the key `device`."""
