"""The keys of each launcher: where the runs of a sweep are trained. Their defaults are those of conf/launcher/NAME.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.config.registry import LAUNCHER, ChoiceError, shown, unknown
from harness.config.validation import check_flag, check_names, check_whole


@dataclass(frozen=True)
class LauncherConfig:
    """A launcher and its keys.

    Args:
        name: its name in the registry `LAUNCHER`.
        workers: number of processes that train at a time; auto: as many as the launcher has room for.
    """

    name: str
    workers: int | str

    def __post_init__(self) -> None:
        if self.workers != "auto":
            check_whole("launcher.workers", self.workers, 1, also="auto")

    @property
    def device(self) -> str:
        """The kind of device that device=auto means there; "auto" if this machine decides."""
        return "auto"

    @property
    def waits(self) -> bool:
        """Whether the command waits for the runs and reports."""
        return True


@dataclass(frozen=True)
class LocalConfig(LauncherConfig):
    """Child processes on this machine."""


@dataclass(frozen=True)
class InlineConfig(LauncherConfig):
    """The process of the command, which is the only worker."""

    def __post_init__(self) -> None:
        if self.workers != 1:
            raise ChoiceError(f"launcher.workers={shown(self.workers)}: launcher=inline has one worker; nearest is 1")


@dataclass(frozen=True)
class SlurmConfig(LauncherConfig):
    """Tasks of Slurm arrays.

    Args:
        minutes: time limit of a task. An unfinished task is saved and queued again.
        cpus: CPU cores of a task; auto: the most threads of a run.
        gpus: GPUs of a task.
        memory: memory of a task as Slurm writes it; None for the cluster's default.
        partition, account, qos: as the cluster names them; None for its defaults.
        grace_seconds: time before the limit at which a task begins to save.
        options: further options of sbatch.
        setup: shell commands that a task runs first.
        wait: wait for the runs and report; otherwise submit, and leave the report to a job.
    """

    minutes: int
    cpus: int | str
    gpus: int
    memory: str | None
    partition: str | None
    account: str | None
    qos: str | None
    grace_seconds: int
    options: tuple[str, ...]
    setup: tuple[str, ...]
    wait: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("minutes", 1), ("gpus", 0), ("grace_seconds", 1)):
            check_whole(f"launcher.{key}", getattr(self, key), least)
        if self.grace_seconds > 30 * self.minutes:
            raise ChoiceError(
                f"launcher.grace_seconds={self.grace_seconds}: must be at most half of launcher.minutes={self.minutes}; "
                f"nearest is {30 * self.minutes}"
            )
        if self.cpus != "auto":
            check_whole("launcher.cpus", self.cpus, 1, also="auto")
        for key in ("memory", "partition", "account", "qos"):
            _check_line(key, getattr(self, key), also_none=True)
        for key in ("options", "setup"):
            for line in check_names(f"launcher.{key}", getattr(self, key)):
                _check_line(key, line)
        check_flag("launcher.wait", self.wait)

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def waits(self) -> bool:
        return self.wait


@dataclass(frozen=True)
class RayConfig(LauncherConfig):
    """Tasks of a Ray cluster.

    Args:
        address: the cluster, HOST:PORT; auto: the one that this machine belongs to, or else one of this machine alone.
        cpus: CPU cores of a task; auto: the most threads of a run.
        gpus: GPUs of a task.
    """

    address: str
    cpus: int | str
    gpus: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.address != "auto" and not re.fullmatch(r"[^\s/]+:\d{1,5}", str(self.address)):
            raise ChoiceError(f"launcher.address={shown(self.address)}: must be auto, or HOST:PORT")
        check_whole("launcher.gpus", self.gpus, 0)
        if self.cpus != "auto":
            check_whole("launcher.cpus", self.cpus, 1, also="auto")

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


LAUNCHERS: Mapping[str, type[LauncherConfig]] = {
    "local": LocalConfig,
    "slurm": SlurmConfig,
    "ray": RayConfig,
    "inline": InlineConfig,
}
KEYS = ("launcher", *dict.fromkeys(f"launcher.{f.name}" for kind in LAUNCHERS.values() for f in fields(kind)))
"""The keys of all launchers, as the command line names them."""


def launcher_config(values: Mapping[str, Any]) -> LauncherConfig:
    """Return the config of a launcher's plain values; raises ChoiceError for a value that is not allowed.

    The launcher of a plugin has the key `workers`; keys of its own are the plugin's.
    """
    kind = LAUNCHERS.get(LAUNCHER.check(values.get("name")), LauncherConfig)
    names = [f.name for f in fields(kind)]
    for key in values:
        if key not in names:
            raise unknown("key", f"launcher.{key}", [f"launcher.{name}" for name in names if name != "name"])
    if not values.keys() >= set(names):
        raise ChoiceError(f"launcher.name={shown(values['name'])}: is for launchers of plugins; type launcher={values['name']}")
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return kind(**plain)


def _check_line(key: str, value: object, also_none: bool = False) -> None:
    if value is None and also_none:
        return
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ChoiceError(f"launcher.{key}={shown(value)}: must be a text of one line{', or null' if also_none else ''}")
