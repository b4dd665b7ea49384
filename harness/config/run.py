"""What a run is asked to be: typed, validated at construction, and hashed.

Every field is a key of the command line (`conf/config.yaml` comments each one). Closed choices are enums, open ones are
names in `harness.config.registry`. A field says what a run computes, save for `data.root`, `data.download`, the number of a
device and `PLACES`, which say where and how, and are no part of its identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from harness.config.data import IMAGE_FOLDER, DataConfig
from harness.config.flat import bare, flatten, plain
from harness.config.network import Family, NetworkConfig
from harness.config.plugins import load_plugin, plugin_digest
from harness.config.registry import PROBE, ChoiceError, shown, unknown
from harness.config.schedule import SCHEDULES, ScheduleConfig
from harness.config.validation import assign, flag, member, names, real, whole

NUMERICS = 1
"""Part of every run's identity; raised when a change of the code changes a golden loss, so that no stale run is reused."""


class Precision(str, Enum):
    """Arithmetic of forward and backward pass; weights and optimiser state are always float32. `auto` is one of the two."""

    fp32 = "fp32"
    bf16 = "bf16"
    auto = "auto"


class UpdateScaling(str, Enum):
    """How large each layer's step is: as its gradient has it, or of equal relative size in all layers
    (harness.training.update_scaling)."""

    none = "none"
    layerwise = "layerwise"


class GradientNorms(str, Enum):
    """At which steps the norm of each layer's weight gradient is kept: where probes look, or at every step as well."""

    probed = "probed"
    every = "every"


NESTED: Mapping[str, type[DataConfig] | type[ScheduleConfig]] = {"data": DataConfig, "schedule": ScheduleConfig}
"""The keys that are groups of keys."""
PLACES = ("activation_checkpointing", "checkpoint_minutes", "gang")
"""Keys, beside `DATA_PLACES` and the number of a device, that change no number of a run."""
DATA_PLACES = ("root", "download")
"""The keys of `data` that say where the images are, not which."""


@dataclass(frozen=True)
class RunConfig(NetworkConfig):
    """One training with one set of choices: a network, and how it is trained.

    Raises ChoiceError (a ValueError) at construction for any choice that cannot be run. What `schedule` was not given follows
    `data`. `start_from` is the depth of the run that this one extends (`shallower`), or none.
    """

    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: Precision = Precision.fp32
    device: str = "auto"
    threads: int | str = 1
    probes: tuple[str, ...] = ("blocks", "layers")
    activation_checkpointing: bool = False
    checkpoint_minutes: float = 2.0
    gang: int | str = "auto"
    update_scaling: UpdateScaling = UpdateScaling.none
    start_from: int | str = "none"
    gradient_norms: GradientNorms = GradientNorms.probed
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        plugins = names("plugins", self.plugins)
        for module in plugins:
            load_plugin(module)
        for key, kind in NESTED.items():
            if not isinstance(getattr(self, key), kind):
                raise ChoiceError(f"{key}={shown(getattr(self, key))}: must be a {kind.__name__}")
        super().__post_init__()
        whole("seed", self.seed, 0)
        flag("activation_checkpointing", self.activation_checkpointing)
        probes = tuple(sorted(set(names("probes", self.probes))))
        for probe in probes:
            PROBE.check(probe)
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", self.device):
            raise ChoiceError(f"device={shown(self.device)}: must be auto, cpu, cuda or cuda:N")
        if self.threads != "auto":
            whole("threads", self.threads, 1, also="auto")
        if self.gang != "auto":
            whole("gang", self.gang, 1, also="auto")
        if self.start_from != "none":
            whole("start_from", self.start_from, 1, also="none")
        assign(
            self,
            checkpoint_minutes=real("checkpoint_minutes", self.checkpoint_minutes, least=0),
            precision=member("precision", self.precision, Precision),
            update_scaling=member("update_scaling", self.update_scaling, UpdateScaling),
            gradient_norms=member("gradient_norms", self.gradient_norms, GradientNorms),
            probes=probes,
            plugins=plugins,
            schedule=self.schedule.following(SCHEDULES.get(self.data.name, ScheduleConfig())),
        )
        if self.norm == "none" and (images := self.schedule.precise_norm) is not None:
            raise ChoiceError(
                f"schedule.precise_norm={images}: is for nets with batch normalisation, not for norm=none; nearest is null"
            )
        if isinstance(self.start_from, int):
            self.check_extends(self.start_from)
            if self.norm == "none" and self.shortcut != "none" and self.update_scaling is UpdateScaling.layerwise:
                raise ChoiceError(
                    f"start_from={self.start_from}: without norms the added branches end in weights of zero, and "
                    "update_scaling=layerwise never moves those; nearest is update_scaling=none"
                )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Return the config of nested plain values, as a composed YAML or config.json holds them.

        Raises ChoiceError for unknown keys, and for values as the constructor does.
        """
        values = dict(mapping)
        for module in names("plugins", values.get("plugins") or ()):
            load_plugin(module)
        for key, kind in NESTED.items():
            if key in values:
                values[key] = kind(**_known(values[key], kind, f"{key}."))
        return cls(**_known(values, cls, ""))

    def choices(self) -> dict[str, Any]:
        """Return every choice as nested plain values, milestones resolved, without the places."""
        data = {key: value for key, value in plain(self.data).items() if key not in DATA_PLACES}
        schedule = plain(self.schedule.in_force()) | {"milestones": list(self.schedule.milestone_steps())}
        values = plain(self) | {"device": self.device.split(":")[0], "data": data, "schedule": schedule}
        return {key: value for key, value in values.items() if key not in PLACES}

    def places(self) -> dict[str, Any]:
        """Return what says where, not what: needed to carry out the run, left out of its record."""
        data = {key: getattr(self.data, key) for key in DATA_PLACES}
        return {"device": self.device, "data": data} | {key: getattr(self, key) for key in PLACES}

    def at(self, data: Mapping[str, Any], **places: Any) -> RunConfig:
        """Return the same run at other `places`."""
        return replace(self, data=replace(self.data, **data), **places)

    def shallower(self) -> RunConfig | None:
        """Return the run that this one starts from: the same but for the depth, trained from scratch; None if there is none."""
        return replace(self, depth=self.start_from, start_from="none") if isinstance(self.start_from, int) else None

    def flat(self) -> dict[str, Any]:
        """Return the choices under the names of the command line: `depth`, `data`, `data.split`, `schedule.steps`."""
        return flatten(self.choices())

    def identity(self) -> str:
        """Return the hash of what can change the run's numbers: 10 hexadecimal digits of SHA-256.

        Only choices away from their defaults count, so a new key with a default leaves old hashes as they were. The device
        counts by its type, `threads=auto` as it stands: how many there are is known where the run is. Raises ValueError while
        device or precision are still `auto` (see `harness.training.devices`), or while it is not known which images a user's
        own are (see `harness.data.datasets`).
        """
        if "auto" in (self.device, self.precision):
            raise ValueError("device and precision must be resolved before a run has an identity")
        if self.data.name == IMAGE_FOLDER and self.data.content is None:
            raise ValueError("the images must be checked before a run has an identity")
        different: dict[str, Any] = {"numerics": NUMERICS, "device": self.device.split(":")[0]}
        of_network = [f.name for f in fields(NetworkConfig)]
        different |= {name: bare(value) for name, value in self.chosen().items()}
        different |= _different(self, skip=(*of_network, *PLACES, "data", "schedule", "device", "plugins"))
        different["data"] = _different(self.data, skip=DATA_PLACES)
        different["schedule"] = _different(self.schedule.in_force(), skip=())
        if self.plugins:
            different["plugins"] = {module: plugin_digest(module) for module in self.plugins}
        text = json.dumps(different, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def run_name(self) -> str:
        """Return the name of the run's folder: a readable label and the identity."""
        family = "" if self.family is Family.cifar else f"{self.family.value}-"
        start = "" if self.start_from == "none" else f"-from{self.start_from}"
        return f"{self.data.name}-{family}{self.shortcut}-{self.depth}{start}-seed{self.seed}-{self.identity()}"


def with_defaults(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded choices completed by the defaults of keys that are younger than the record."""
    name = choices.get("data", {}).get("name")
    defaults = RunConfig(data=DataConfig(name) if name in SCHEDULES else DataConfig(), device="cpu").choices()
    nested = {key: defaults[key] | dict(choices.get(key, {})) for key in NESTED}
    return defaults | dict(choices) | nested


def _different(config: Any, skip: tuple[str, ...]) -> dict[str, Any]:
    defaults = {f.name: f.default if f.default is not MISSING else None for f in fields(config)}
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in skip}
    return {name: bare(value) for name, value in values.items() if value != defaults[name]}


def _known(mapping: Any, kind: type, prefix: str) -> dict[str, Any]:
    keys = [f.name for f in fields(kind)]
    if not isinstance(mapping, Mapping):
        raise ChoiceError(f"{prefix.rstrip('.')}={shown(mapping)}: must be a group of keys ({', '.join(keys)})")
    for key in mapping:
        if key not in keys:
            raise unknown("key", f"{prefix}{key}", [prefix + key for key in keys])
    return dict(mapping)
