"""What a run is asked to be: typed, validated at construction, and hashed.

Every field is a key of the command line (`conf/config.yaml` comments each one). Closed choices are enums, open ones are
names in `harness.choices`. A field says what a run computes, save for `data.root`, `data.download`, the number of a
device and `PLACES`, which say where and how, and are no part of its identity.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from harness.checks import assign, flag, member, names, real, whole
from harness.choices import DATA, PROBE, ChoiceError, shown, unknown
from harness.network import Family, NetworkConfig

NUMERICS = 1
"""Part of every run's identity; raised when a change of the code changes a golden loss, so that no stale run is reused."""


class Precision(str, Enum):
    """Arithmetic of forward and backward pass; weights and optimiser state are always float32. `auto` is one of the two."""

    fp32 = "fp32"
    bf16 = "bf16"
    auto = "auto"


class Split(str, Enum):
    """Training images used: all of them, or all but a tenth that is held out (He et al. 2015, 4.2: 45k/5k)."""

    full = "full"
    holdout = "holdout"


class Warmup(str, Enum):
    """When the warm-up learning rate ends: never begins, after a fixed count, or below a training error."""

    none = "none"
    steps = "steps"
    until_error = "until_error"


class UpdateScaling(str, Enum):
    """How large each layer's step is: as its gradient has it, or of equal relative size in all layers (harness.scaling)."""

    none = "none"
    layerwise = "layerwise"


class GradientNorms(str, Enum):
    """At which steps the norm of each layer's weight gradient is kept: where probes look, or at every step as well."""

    probed = "probed"
    every = "every"


IMAGE_FOLDER = "image_folder"
IMAGE_SIZE = 224
"""Side in pixels to which a user's own images are cut, as in He et al. 2015, section 3.4."""
RESIZE_MOST = 8
"""How many times `image_size` an image may be kept: the net sees a 64th of it then."""
FIXED = ("digits", "cifar10", "cifar100")
"""The data sets whose name says which images they are, and of what size."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, and what is done to them.

    `image_size`, the side in pixels, and `content` are None for `FIXED` data sets. `content` says which images were found
    below `root`; it is filled in when they are checked (`harness.data.sources`), and where it is given they must be those.
    `resize` is for `IMAGE_FOLDER` alone: the side in pixels to which the shorter side of an image is scaled before it is cut.
    """

    name: str = "digits"
    root: str | None = None
    download: bool = False
    split: Split = Split.full
    augment: bool = True
    image_size: int | None = None
    resize: int | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        DATA.check(self.name)
        if self.root is not None and (not isinstance(self.root, str) or not self.root):
            raise ChoiceError(f"data.root={shown(self.root)}: must be a folder's path or null")
        flag("data.download", self.download)
        flag("data.augment", self.augment)
        assign(self, split=member("data.split", self.split, Split))
        for key in ("image_size", "resize", "content"):
            if self.name in FIXED and (given := getattr(self, key)) is not None:
                raise ChoiceError(
                    f"data.{key}={shown(given)}: data={self.name} has its own images, of one size; for {IMAGE_FOLDER} alone"
                )
        if self.content is not None and not re.fullmatch(r"sha256:[0-9a-f]{16}", str(self.content)):
            raise ChoiceError(f"data.content={shown(self.content)}: must be sha256: and 16 hexadecimal digits, or null")
        if self.name == IMAGE_FOLDER:
            if self.download:
                raise ChoiceError(f"data.download=true: data={IMAGE_FOLDER} is of your own images; there is nothing to fetch")
            assign(self, image_size=IMAGE_SIZE if self.image_size is None else self.image_size)
        if self.image_size is not None:
            whole("data.image_size", self.image_size, 1)
        if self.resize is not None:
            self._check_resize()

    def _check_resize(self) -> None:
        given = f"data.resize={shown(self.resize)}"
        if self.name != IMAGE_FOLDER or self.image_size is None:
            raise ChoiceError(f"{given}: is for data={IMAGE_FOLDER}, not for data={self.name}; nearest is data.resize=null")
        whole("data.resize", self.resize, 1)
        least, most = self.image_size, RESIZE_MOST * self.image_size
        if not least <= cast(int, self.resize) <= most:
            nearest = least if cast(int, self.resize) < least else most
            allowed = f"from data.image_size to {RESIZE_MOST} times that, {least} to {most}, or null"
            raise ChoiceError(f"{given}: must be {allowed}; nearest is data.resize={nearest}")


@dataclass(frozen=True)
class ScheduleConfig:
    """How long and how fast to train; the defaults are those of He et al. 2015, section 4.2, for CIFAR-10.

    In a `RunConfig`, what was not given here follows its data. (`dataclasses.replace` gives every key.)
    """

    steps: int = 64_000
    batch_size: int = 128
    learning_rate: float = 0.1
    milestones: tuple[int, ...] | None = None
    warmup: Warmup = Warmup.none
    warmup_learning_rate: float = 0.01
    warmup_steps: int = 400
    warmup_error: float = 80.0
    warmup_max_steps: int | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_norm: bool = True
    eval_every: int | None = None
    eval_images: int | None = None
    precise_norm: int | None = None

    def __new__(cls, *values: Any, **named: Any) -> ScheduleConfig:
        self = super().__new__(cls)
        assign(self, _given={f.name: None for f, _ in zip(fields(cls), values, strict=False)} | dict.fromkeys(named))
        return self

    def __post_init__(self) -> None:
        if not isinstance(self.milestones, str | Mapping) and hasattr(self.milestones, "__iter__"):
            assign(self, milestones=tuple(self.milestones or ()))
        assign(self, _given={name: getattr(self, name) for name in self.__dict__["_given"]})
        whole("schedule.steps", self.steps, 1)
        whole("schedule.batch_size", self.batch_size, 1)
        rate = real("schedule.learning_rate", self.learning_rate, above=0)
        warmup = member("schedule.warmup", self.warmup, Warmup)
        warmup_rate = real("schedule.warmup_learning_rate", self.warmup_learning_rate, above=0)
        error = real("schedule.warmup_error", self.warmup_error, above=0, most=100)
        momentum = real("schedule.momentum", self.momentum, least=0, below=1)
        decay = real("schedule.weight_decay", self.weight_decay, least=0)
        flag("schedule.decay_norm", self.decay_norm)
        whole("schedule.warmup_steps", self.warmup_steps, 1)
        for key in ("warmup_max_steps", "eval_every", "eval_images", "precise_norm"):
            if getattr(self, key) is not None:
                whole(f"schedule.{key}", getattr(self, key), 1)
        ends = "steps" in self.__dict__["_given"]  # else only the data say when
        if ends and warmup is Warmup.steps and self.warmup_steps >= self.steps:
            raise ChoiceError(f"schedule.warmup_steps={self.warmup_steps}: must be below schedule.steps={self.steps}")
        if ends and warmup is Warmup.until_error and (self.warmup_max_steps or 0) > self.steps:
            raise ChoiceError(f"schedule.warmup_max_steps={self.warmup_max_steps}: must be at most schedule.steps={self.steps}")
        assign(
            self,
            learning_rate=rate,
            milestones=self._checked_milestones(),
            warmup=warmup,
            warmup_learning_rate=warmup_rate,
            warmup_error=error,
            momentum=momentum,
            weight_decay=decay,
        )

    def _checked_milestones(self) -> tuple[int, ...] | None:
        """Return the milestones in one form, so that equal schedules are equal: None where they are the default."""
        if self.milestones is None:
            return None
        if isinstance(self.milestones, str | Mapping) or not hasattr(self.milestones, "__iter__"):
            raise ChoiceError(f"schedule.milestones={shown(self.milestones)}: must be a list of steps, [] or null")
        steps = list(self.milestones)
        for step in steps:
            whole("schedule.milestones", step, 1)
            if step >= self.steps and "steps" in self.__dict__["_given"]:
                raise ChoiceError(f"schedule.milestones={shown(steps)}: {step} is past the end, schedule.steps={self.steps}")
        if steps != sorted(set(steps)):
            raise ChoiceError(f"schedule.milestones={shown(steps)}: must rise")
        return None if tuple(steps) == self._default_milestones() else tuple(steps)

    def _default_milestones(self) -> tuple[int, ...]:
        return default_milestones(self.steps)

    def milestone_steps(self) -> tuple[int, ...]:
        """Return the steps at which the learning rate falls to a tenth; 1/2 and 3/4 of `steps` unless given."""
        return self._default_milestones() if self.milestones is None else self.milestones

    def following(self, base: ScheduleConfig) -> ScheduleConfig:
        """Return `base` with what was given here in its place; it can be made to follow another base again."""
        found = replace(base, **(given := self.__dict__["_given"]))
        assign(found, _given=given)
        return found

    def in_force(self) -> ScheduleConfig:
        """Return the schedule with the parameters that its kind of warm-up does not use at their defaults."""
        idle = {
            Warmup.none: ("warmup_learning_rate", "warmup_steps", "warmup_error", "warmup_max_steps"),
            Warmup.steps: ("warmup_error", "warmup_max_steps"),
            Warmup.until_error: ("warmup_steps",),
        }[self.warmup]
        defaults: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name in idle}
        return replace(self, **defaults)

    def warmup_limit(self) -> int:
        """Return the step by which a warm-up has ended, whatever the error."""
        if self.warmup is Warmup.none:
            return 0
        if self.warmup is Warmup.steps:
            return self.warmup_steps
        first = self.milestone_steps()[0] if self.milestone_steps() else self.steps
        return first if self.warmup_max_steps is None else self.warmup_max_steps


SCHEDULES: Mapping[str, ScheduleConfig] = {
    name: replace(schedule)  # as if all of it had been given
    for name, schedule in {
        "digits": ScheduleConfig(steps=1_000, learning_rate=0.01, eval_every=55),
        "cifar10": ScheduleConfig(),
        "cifar100": ScheduleConfig(),
        IMAGE_FOLDER: ScheduleConfig(steps=600_000, batch_size=256),
    }.items()
}
"""The schedule that each data set's name stands for, as in conf/schedule/ (a test compares the two)."""

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
            _load_plugin(module)
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
            _load_plugin(module)
        for key, kind in NESTED.items():
            if key in values:
                values[key] = kind(**_known(values[key], kind, f"{key}."))
        return cls(**_known(values, cls, ""))

    def choices(self) -> dict[str, Any]:
        """Return every choice as nested plain values, milestones resolved, without the places."""
        data = {key: value for key, value in _plain(self.data).items() if key not in DATA_PLACES}
        schedule = _plain(self.schedule.in_force()) | {"milestones": list(self.schedule.milestone_steps())}
        plain = _plain(self) | {"device": self.device.split(":")[0], "data": data, "schedule": schedule}
        return {key: value for key, value in plain.items() if key not in PLACES}

    def places(self) -> dict[str, Any]:
        """Return what says where, not what: needed to carry out the run, left out of its record."""
        data = {key: getattr(self.data, key) for key in DATA_PLACES}
        return {"device": self.device, "data": data} | {key: getattr(self, key) for key in PLACES}

    def at(self, data: Mapping[str, Any], **places: Any) -> RunConfig:
        """Return the same run at other `places`."""
        return replace(self, data=replace(self.data, **data), **places)

    def threads_here(self) -> int:
        """Return the CPU threads of the run in this process: where `threads` is auto, as many as the cores that it may use."""
        return available_cores() if self.threads == "auto" else int(self.threads)

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
        device or precision are still `auto` (see `harness.devices`), or while it is not known which images a user's own are
        (see `harness.data.sources`).
        """
        if "auto" in (self.device, self.precision):
            raise ValueError("device and precision must be resolved before a run has an identity")
        if self.data.name == IMAGE_FOLDER and self.data.content is None:
            raise ValueError("the images must be checked before a run has an identity")
        different: dict[str, Any] = {"numerics": NUMERICS, "device": self.device.split(":")[0]}
        of_network = [f.name for f in fields(NetworkConfig)]
        different |= {name: _bare(value) for name, value in self.chosen().items()}
        different |= _different(self, skip=(*of_network, *PLACES, "data", "schedule", "device", "plugins"))
        different["data"] = _different(self.data, skip=DATA_PLACES)
        different["schedule"] = _different(self.schedule.in_force(), skip=())
        if self.plugins:
            different["plugins"] = {module: _digest(module) for module in self.plugins}
        text = json.dumps(different, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def run_name(self) -> str:
        """Return the name of the run's folder: a readable label and the identity."""
        family = "" if self.family is Family.cifar else f"{self.family.value}-"
        start = "" if self.start_from == "none" else f"-from{self.start_from}"
        return f"{self.data.name}-{family}{self.shortcut}-{self.depth}{start}-seed{self.seed}-{self.identity()}"


def default_milestones(steps: int) -> tuple[int, ...]:
    """Return the milestones of a schedule that names none: at 1/2 and 3/4 of its steps."""
    return tuple(sorted({step for step in (steps // 2, steps * 3 // 4) if step > 0}))


def flatten(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested choices, as `RunConfig.choices` or a run's config.json has them, under the command line's names."""
    flat: dict[str, Any] = {}
    for key, value in choices.items():
        if isinstance(value, Mapping):
            flat |= {key if name == "name" else f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in flat.items()}


def with_defaults(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded choices completed by the defaults of keys that are younger than the record."""
    name = choices.get("data", {}).get("name")
    defaults = RunConfig(data=DataConfig(name) if name in SCHEDULES else DataConfig(), device="cpu").choices()
    nested = {key: defaults[key] | dict(choices.get(key, {})) for key in NESTED}
    return defaults | dict(choices) | nested


def varying(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which flattened choices differ, in the order of the keys."""
    return [key for key in flats[0] if len({str(flat[key]) for flat in flats}) > 1] if flats else []


def available_cores() -> int:
    """Return how many CPU cores this process may use, at least one; Slurm's allotment where that is fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _variable("SLURM_CPUS_PER_TASK"), thread_limit()))


def thread_limit() -> int:
    """Return how many threads OpenMP starts at most; torch waits for more without end."""
    return max(1, _variable("OMP_THREAD_LIMIT"))


def _variable(name: str) -> int:
    """Return the whole number in a variable of the environment; where there is none, more than any machine has of anything."""
    given = os.environ.get(name, "").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 10**9


def _load_plugin(module: str) -> None:
    given = f"plugins={shown(module)}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or module.endswith(".py"):
        raise ChoiceError(f"{given}: must be a module's name as in `import NAME`: a file mine.py on Python's path is mine")
    own = module.partition(".")[0] in {*sys.stdlib_module_names, "__main__", "harness", "experiments"}
    if own and not module.endswith(".plugin"):  # as harness.lab.plugin, the only one that this project has
        raise ChoiceError(f"{given}: is Python's own or this project's, and registers nothing new; name a module of yours")
    if module in sys.modules:
        return
    here = os.getcwd()  # noqa: PTH109  # Path.cwd() is the same call, and os.chdir has no Path of its own
    try:
        import_module(module)
    except ChoiceError as error:
        raise ChoiceError(f"{given}: {error}") from error
    except BaseException as error:  # whatever a user's module raises, SystemExit and KeyboardInterrupt included
        words = shown(error)
        raise ChoiceError(f"{given}: cannot be imported: {type(error).__name__}{': ' if words else ''}{words}") from error
    finally:
        os.chdir(here)  # or else the other paths of the command line would mean other places
    if not Path(getattr(sys.modules[module], "__file__", None) or "").is_file():
        raise ChoiceError(f"{given}: has no file of its own, so that its runs could not be told from those of another text")


def _digest(module: str) -> str:
    spec = find_spec(module)
    source = spec.origin if spec else None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def _different(config: Any, skip: tuple[str, ...]) -> dict[str, Any]:
    defaults = {f.name: f.default if f.default is not MISSING else None for f in fields(config)}
    values = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in skip}
    return {name: _bare(value) for name, value in values.items() if value != defaults[name]}


def _plain(config: Any) -> dict[str, Any]:
    return {f.name: _bare(getattr(config, f.name)) for f in fields(config)}


def _bare(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _known(mapping: Any, kind: type, prefix: str) -> dict[str, Any]:
    keys = [f.name for f in fields(kind)]
    if not isinstance(mapping, Mapping):
        raise ChoiceError(f"{prefix.rstrip('.')}={shown(mapping)}: must be a group of keys ({', '.join(keys)})")
    for key in mapping:
        if key not in keys:
            raise unknown("key", f"{prefix}{key}", [prefix + key for key in keys])
    return dict(mapping)
