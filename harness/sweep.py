"""A command line becomes a sweep: the list of runs that it asks for, each once, all checked before the first starts."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # the very expansion that Hydra's sweeps use
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from harness import layout
from harness.choices import ChoiceError, unknown
from harness.config import NESTED, RunConfig, varying
from harness.data.sources import check_all

GROUPS = ("data", "schedule", "variant", "experiment")


@dataclass(frozen=True)
class Sweep:
    """Runs that were asked for together: their configs, resolved and without duplicates, and the experiment's name.

    A run that starts from another stands after it.
    """

    configs: tuple[RunConfig, ...]
    experiment: str
    results: Path
    command: str

    @property
    def folder(self) -> Path:
        """The sweep's folder, the same for the same runs: what varies in it, and a hash of the runs."""
        names = sorted(config.run_name() for config in self.configs)
        differing = "-".join(varying([config.flat() for config in self.configs]))
        label = self.experiment if self.experiment != "none" else differing or "single"
        return layout.sweep_folder(self.results, f"{label[:80]}-{sha256(' '.join(names).encode()).hexdigest()[:10]}")


def conf_folder() -> Path:
    """Return where conf/ lies: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).resolve().parent
    return next(place for place in (here.parent / "conf", here / "conf") if (place / "config.yaml").is_file())


def plan(overrides: Sequence[str], multirun: bool, command: Sequence[str]) -> Sweep:
    """Return the sweep that the overrides ask for; nothing is written.

    Raises ChoiceError, or Hydra's and OmegaConf's own errors, for whatever cannot be run.
    """
    own = [override for override in overrides if not is_launcher_override(override)]
    launcher = [override for override in overrides if is_launcher_override(override)]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        compose("launch", ["folder=none", "job=0", *launcher], return_hydra_config=True)
        swept = [line for line in own if OverridesParser.create().parse_override(line).is_sweep_override()]
        if swept and not multirun:
            raise ChoiceError(f"{swept[0]}: several values need a sweep: add -m")
        for key in ("results", "experiment"):
            if any(line.startswith(f"{key}=") for line in swept):
                raise ChoiceError(f"{key}: a sweep has one {key}")
        single = [line for line in own if line not in swept]
        _check_words(single)
        base = compose("config", single, return_hydra_config=True)
        experiment = str(base.hydra.runtime.choices.experiment)
        if experiment != "none" and not multirun:
            raise ChoiceError(f"experiment={experiment}: is a sweep: add -m")
        params = [f"{key}={value}" for key, value in (base.hydra.sweeper.get("params") or {}).items()]
    composed = compose_jobs([*params, *own] if multirun else own)
    pairs = [from_composed(cfg) for cfg in composed]
    configs = [config for config, _ in pairs]
    to_fetch = [config for config in configs if config.data.download]
    resolved = _resolved([*check_all([config for config in configs if not config.data.download]), *to_fetch])
    results = writable(pairs[0][1])
    check_all(to_fetch)
    return Sweep(resolved, experiment, results, published(command))


def compose_jobs(overrides: Sequence[str]) -> list[DictConfig]:
    """Return the composed config of every combination of the values that the overrides give.

    Raises ChoiceError, or Hydra's and OmegaConf's own errors, for what cannot be composed.
    """
    lines = OverridesParser.create().parse_overrides(list(overrides))
    jobs = BasicSweeper.split_arguments(lines, None)[0]
    _check_words({word for job in jobs for word in job})
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return [compose("config", job) for job in jobs]


def first_words(error: Exception) -> str:
    """Return what an error says, without the lines that Hydra adds about its internals."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "reference_type", "Available options in"))]
    if isinstance(error, OverrideParseException):
        kept.insert(0, f"{error.override}:")
    return " ".join(kept) or type(error).__name__


def published(command: Sequence[str]) -> str:
    """Return a command line fit for others to read: every value that holds an absolute path is replaced by PATH."""
    parts = []
    for part in command:
        key, equals, value = part.rpartition("=")
        parts.append(f"{key}{equals}PATH" if re.search(r"(^|[\s'\"\[(,:])[~/\\]", value) else part)
    return shlex.join(parts)


def _check_words(overrides: Iterable[str]) -> None:
    """Raise ChoiceError for a key or a group's choice that does not exist, with the nearest one that does."""
    plain = [f.name for f in fields(RunConfig)] + ["results", "variant", "experiment"]
    keys = plain + [f"{group}.{f.name}" for group, kind in NESTED.items() for f in fields(kind)]
    for override in overrides:
        key, _, value = override.partition("=")
        if key.startswith("~"):
            raise ChoiceError(f"{override}: no key can be left out; give it a value")
        if key.lstrip("+") not in keys:
            raise unknown("key", key, keys)
        if key in GROUPS and value not in (names := choices_of(key)):
            raise unknown(key, value, names)


def choices_of(group: str) -> list[str]:
    """Return the names that a group of conf/ offers."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def is_launcher_override(override: str) -> bool:
    """Return whether an override is about how runs are launched, not which."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))


def from_composed(cfg: DictConfig) -> tuple[RunConfig, str]:
    """Return the run's config, and the results folder, of a composed job."""
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    results = values.pop("results")
    if not isinstance(results, str) or not results:
        raise ChoiceError(f"results={results}: must be a folder's path")
    return RunConfig.from_mapping(values), results


def _resolved(configs: Sequence[RunConfig]) -> tuple[RunConfig, ...]:
    """Return the configs for this machine, each once, and the runs that they start from, which nobody need have asked for.

    torch is imported only now that all else is right.
    """
    from harness.devices import resolve

    asked = [resolve(config) for config in configs]
    shallower = [config.shallower() for config in asked]
    by_name = {config.run_name(): config for config in (*shallower, *asked) if config is not None}
    return tuple(by_name.values())


def writable(results: str) -> Path:
    """Return a results folder, made if need be; raises ChoiceError where nothing can be written there."""
    folder = Path(results).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ChoiceError(f"results={results}: cannot be written: {error.strerror or error}") from error
