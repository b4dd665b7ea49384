"""The config of a run: every choice validated at construction, and hashed into the run's identity.

Each field is a key of the command line, which `conf/config.yaml` describes. Closed choices are enums; open choices are names
in `harness.config.registry`. `ExecutionConfig` says where and how a run is computed and is no part of its identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from harness.config.data import SCHEDULES, DataConfig, LocatedData, is_fixed
from harness.config.execution import KEYS as EXECUTION_KEYS
from harness.config.execution import ExecutionConfig
from harness.config.flat import flatten, plain, plain_value
from harness.config.network import NetworkConfig
from harness.config.plugins import load_plugin, plugin_digest
from harness.config.registry import LR_SCHEDULE, OPTIMIZER, PLUGIN_KEYS, PROBE, ChoiceError, shown, unknown
from harness.config.schedule import ScheduleConfig
from harness.config.validation import assign, check_member, check_names, check_whole

NUMERICS = 1
"""Part of every run's identity. Increase it when a change of the code changes a golden loss, so that no stale run is reused."""


class Precision(str, Enum):
    """Arithmetic of the passes; weights and optimizer state are always float32. `auto` is resolved before the run starts."""

    fp32 = "fp32"
    bf16 = "bf16"
    auto = "auto"


class UpdateScaling(str, Enum):
    """Size of each layer's update: as its gradient, or the same relative size in all layers (training/update_scaling.py)."""

    none = "none"
    layerwise = "layerwise"


class GradientNorms(str, Enum):
    """Steps at which the norm of each layer's weight gradient is recorded: probed steps only, or every step."""

    probed = "probed"
    every = "every"


NESTED: Mapping[str, type[DataConfig] | type[ScheduleConfig]] = {"data": DataConfig, "schedule": ScheduleConfig}
"""The keys that are groups of keys."""


@dataclass(frozen=True)
class RunConfig(NetworkConfig):
    """One training run: a network, and how it is trained.

    Args:
        data: a data set. The folder of a `LocatedData` is moved to `execution`.
        schedule: keys that were not given follow `data`.
        start_from: depth of the run that this run extends (`shallower`), or none.
        plugin: values of the keys that plugins add (`add_key`).
        execution: not compared between configs.

    Raises:
        ChoiceError: (a ValueError) at construction, for any choice that cannot be run.
    """

    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    optimizer: str = "sgd"
    lr_schedule: str = "steps"
    precision: Precision = Precision.fp32
    device: str = "auto"
    threads: int | str = 1
    probes: tuple[str, ...] = ("blocks", "layers")
    update_scaling: UpdateScaling = UpdateScaling.none
    start_from: int | str = "none"
    gradient_norms: GradientNorms = GradientNorms.probed
    plugins: tuple[str, ...] = ()
    plugin: Mapping[str, Any] = field(default_factory=dict, hash=False)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig, compare=False)

    def __post_init__(self) -> None:
        plugins = check_names("plugins", self.plugins)
        for module in plugins:
            load_plugin(module)
        for key, kind in (*NESTED.items(), ("execution", ExecutionConfig)):
            if not isinstance(getattr(self, key), kind):
                raise ChoiceError(f"{key}={shown(getattr(self, key))}: must be a {kind.__name__}")
        if isinstance(self.data, LocatedData):
            execution = replace(self.execution, data_root=self.data.root, data_download=self.data.download)
            pure = {f.name: getattr(self.data, f.name) for f in fields(DataConfig)}
            assign(self, data=DataConfig(**pure), execution=execution)
        super().__post_init__()
        check_whole("seed", self.seed, 0)
        probes = tuple(sorted(set(check_names("probes", self.probes))))
        for probe in probes:
            PROBE.check(probe)
        OPTIMIZER.check(self.optimizer)
        LR_SCHEDULE.check(self.lr_schedule)
        self._check_device()
        if self.threads != "auto":
            check_whole("threads", self.threads, 1, also="auto")
        if self.start_from != "none":
            check_whole("start_from", self.start_from, 1, also="none")
        assign(
            self,
            precision=check_member("precision", self.precision, Precision),
            update_scaling=check_member("update_scaling", self.update_scaling, UpdateScaling),
            gradient_norms=check_member("gradient_norms", self.gradient_norms, GradientNorms),
            probes=probes,
            plugins=plugins,
            plugin=_plugin_values(self.plugin, plugins),
            schedule=self.schedule.following(SCHEDULES.get(self.data.name, ScheduleConfig())),
        )
        self.located_data()
        self._check_combinations()

    def _check_device(self) -> None:
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", self.device):
            raise ChoiceError(f"device={shown(self.device)}: must be auto, cpu, cuda or cuda:N")
        kind, _, number = self.device.partition(":")
        if number:
            assign(self, device=kind, execution=replace(self.execution, device_number=int(number)))

    def _check_combinations(self) -> None:
        """Refuse keys that exclude each other."""
        if self.norm == "none" and (images := self.schedule.precise_norm) is not None:
            raise ChoiceError(
                f"schedule.precise_norm={images}: is for nets with batch normalisation, not for norm=none; nearest is null"
            )
        if self.optimizer != "adamw" and self.schedule.beta2 != ScheduleConfig.beta2 and self.optimizer in OPTIMIZER.built_in:
            raise ChoiceError(
                f"schedule.beta2={self.schedule.beta2:g}: is for optimizer=adamw, not for optimizer={self.optimizer}; "
                f"nearest is {ScheduleConfig.beta2:g}"
            )
        if self.optimizer != "sgd" and self.update_scaling is UpdateScaling.layerwise:
            raise ChoiceError(
                f"update_scaling=layerwise: is for optimizer=sgd, not for optimizer={self.optimizer}; nearest is none"
            )
        if not self.rules.staged and self.execution.activation_checkpointing:
            raise ChoiceError(
                f"activation_checkpointing=true: is for families of stages, not for family={self.family}; nearest is false"
            )
        if isinstance(self.start_from, int):
            self.rules.check_extends(self, self.start_from)
            if self.norm == "none" and self.shortcut != "none" and self.update_scaling is UpdateScaling.layerwise:
                raise ChoiceError(
                    f"start_from={self.start_from}: without norms the added branches end in weights of zero, and "
                    "update_scaling=layerwise never moves those; nearest is update_scaling=none"
                )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> RunConfig:
        """Return the config of nested plain values, as in a composed YAML file or config.json.

        Keys of `ExecutionConfig` are where the command line has them: `data.root` is among the keys of `data`.

        Raises:
            ChoiceError: for unknown keys, and for values that the constructor refuses.
        """
        values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in mapping.items()}
        for module in check_names("plugins", values.get("plugins") or ()):
            load_plugin(module)
        execution = {}
        for key, name in EXECUTION_KEYS.items():
            group, _, inner = key.rpartition(".")
            keys = values.get(group) if group else values
            if isinstance(keys, dict) and inner in keys:
                execution[name] = keys.pop(inner)
        for key, kind in NESTED.items():
            if key in values:
                values[key] = kind(**_check_keys(values[key], kind, f"{key}."))
        return cls(**_check_keys(values, cls, ""), execution=ExecutionConfig(**execution))

    def choices(self) -> dict[str, Any]:
        """Return every choice as nested plain values, milestones resolved."""
        schedule = plain(self.schedule.in_force()) | {"milestones": list(self.schedule.milestone_steps())}
        values = plain(self) | {"data": plain(self.data), "schedule": schedule, "plugin": dict(self.plugin)}
        del values["execution"]
        return values

    def located_data(self) -> LocatedData:
        """Return the data together with the folder that holds them."""
        return LocatedData(**plain(self.data), root=self.execution.data_root, download=self.execution.data_download)

    @property
    def torch_device(self) -> str:
        """The device as torch names it: cpu, cuda or cuda:N."""
        number = self.execution.device_number
        return self.device if number is None or self.device != "cuda" else f"{self.device}:{number}"

    def shallower(self) -> RunConfig | None:
        """Return the run that this one extends: equal except for its depth, and trained from scratch; None if there is none."""
        return replace(self, depth=self.start_from, start_from="none") if isinstance(self.start_from, int) else None

    def flat(self) -> dict[str, Any]:
        """Return the choices under the names of the command line: `depth`, `data`, `data.split`, `schedule.steps`."""
        return flatten(self.choices())

    def identity(self) -> str:
        """Return the hash of everything that can change the run's numbers: 10 hexadecimal digits of SHA-256.

        Only choices that differ from their defaults count, so a new key with a default leaves old hashes unchanged. `device`
        counts by type, `threads=auto` as the word, since the number of cores is known only where the run is computed.

        Raises:
            ValueError: while device or precision is `auto` (`harness.training.auto.resolve`), or while the content of an
                image folder is unknown (`harness.data.datasets.check`).
        """
        if "auto" in (self.device, self.precision):
            raise ValueError("device and precision must be resolved before a run has an identity")
        if self.data.name in SCHEDULES and not is_fixed(self.data.name) and self.data.content is None:
            raise ValueError("the images must be checked before a run has an identity")
        different: dict[str, Any] = {"numerics": NUMERICS, "device": self.device}
        network_keys = [f.name for f in fields(NetworkConfig)]
        different |= {name: plain_value(value) for name, value in self.non_default_keys().items()}
        different |= _non_defaults(self, skip=(*network_keys, "execution", "data", "schedule", "device", "plugins", "plugin"))
        different["data"] = _non_defaults(self.data)
        different["schedule"] = _non_defaults(self.schedule.in_force())
        if self.plugins:
            different["plugins"] = {module: plugin_digest(module) for module in self.plugins}
        if changed := {key: value for key, value in self.plugin.items() if value != PLUGIN_KEYS[key].default}:
            different["plugin"] = changed
        text = json.dumps(different, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def run_name(self) -> str:
        """Return the name of the run's folder: a readable label and the identity."""
        family = [] if self.family == NetworkConfig.family else [self.family]
        shortcut = [self.shortcut] if "shortcut" in self.rules.keys else []
        start = [] if self.start_from == "none" else [f"from{self.start_from}"]
        words = [self.data.name, *family, *shortcut, str(self.depth), *start, f"seed{self.seed}", self.identity()]
        return "-".join(words)


def with_defaults(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded choices, completed by the defaults of keys that are younger than the record."""
    name = choices.get("data", {}).get("name")
    defaults = RunConfig(data=DataConfig(name) if name in SCHEDULES else DataConfig(), device="cpu").choices()
    nested = {key: defaults[key] | dict(choices.get(key, {})) for key in NESTED}
    return defaults | dict(choices) | nested


def _plugin_values(given: Mapping[str, Any], plugins: tuple[str, ...]) -> dict[str, Any]:
    """Return the value of every key that the plugins add. Raises ChoiceError for an unknown key or a wrong value."""
    if not isinstance(given, Mapping):
        raise ChoiceError(f"plugin={shown(given)}: must be a group of keys that a plugin adds")
    keys = {name: key for name, key in PLUGIN_KEYS.items() if key.module in plugins}
    values = {name: key.default for name, key in keys.items()}
    for name, value in given.items():
        if name not in keys:
            raise unknown("key", f"plugin.{name}", [f"plugin.{key}" for key in keys] or ["none without plugins=[MODULE]"])
        kind = type(keys[name].default)
        if type(value) is int and kind is float:
            value = float(value)
        if type(value) is not kind:
            raise ChoiceError(f"plugin.{name}={shown(value)}: must be of the type of its default, {shown(keys[name].default)}")
        try:
            keys[name].check(value)
        except ValueError as error:
            raise ChoiceError(f"plugin.{name}={shown(value)}: {error}") from error
        values[name] = value
    return values


def _non_defaults(config: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    defaults = {f.name: f.default if f.default is not MISSING else None for f in fields(config)}
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in skip}
    return {name: plain_value(value) for name, value in values.items() if value != defaults[name]}


def _check_keys(mapping: Any, kind: type, prefix: str) -> dict[str, Any]:
    keys = [f.name for f in fields(kind) if f.name != "execution"]
    if not isinstance(mapping, Mapping):
        raise ChoiceError(f"{prefix.rstrip('.')}={shown(mapping)}: must be a group of keys ({', '.join(keys)})")
    for key in mapping:
        if key not in keys:
            raise unknown("key", f"{prefix}{key}", [prefix + key for key in keys])
    return dict(mapping)
