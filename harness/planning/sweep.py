"""Turn a command line into a sweep: its runs, without duplicates, all checked before the first one starts."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from harness.config.flat import varying
from harness.config.launcher import KEYS as LAUNCHER_KEYS
from harness.config.launcher import LauncherConfig, launcher_config
from harness.config.registry import ChoiceError, shown
from harness.config.run import Precision, RunConfig
from harness.data.datasets import check_all
from harness.planning.arguments import TEXTS, error_message, parse, quote
from harness.planning.expansion import Product, check_group, compose_config
from harness.records import paths
from harness.system import address_space
from harness.tracking import check_installed

Report = Callable[[int, int], None]
"""A function of the number of items done and of all."""


@dataclass(frozen=True)
class Sweep:
    """The runs of one command: their configs, resolved and without duplicates, the experiment's name, and where they are trained.

    A run that starts from another stands after it. `decided` tells in one line what `auto` was resolved to on this machine, if
    that changes the runs' numbers by more than rounding; else it is empty.
    """

    configs: tuple[RunConfig, ...]
    experiment: str
    launcher: LauncherConfig
    results: Path
    command: str
    decided: str = ""
    label: str = ""
    """Name of the folder; if empty, it follows from the runs."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Further content of sweep.json, or in place of the usual one."""

    @cached_property
    def names(self) -> list[str]:
        """The run names, in the order of the configs."""
        return [config.run_name() for config in self.configs]

    @cached_property
    def folder(self) -> Path:
        """The sweep's folder, named by the keys that vary and a hash of the runs: equal runs give an equal name."""
        if self.label:
            return paths.sweep_folder(self.results, self.label)
        differing = "-".join(varying([config.flat() for config in self.configs]))
        label = self.experiment if self.experiment != "none" else differing or "single"
        digest = sha256(" ".join(sorted(self.names)).encode()).hexdigest()[:10]
        return paths.sweep_folder(self.results, f"{label[:80]}-{digest}")


def plan(overrides: Sequence[str], multirun: bool, command: Sequence[str], report: Report = lambda done, total: None) -> Sweep:
    """Return the sweep that the overrides ask for; nothing is written but an empty results folder.

    `report` is called with the number of combinations planned so far, at first 0, and their total. Raises ChoiceError for
    anything that cannot be run.
    """
    own = parse(overrides)
    for override in own:
        _check_sweep(override, multirun)
    experiment, params = _experiment(own)
    if experiment != "none" and not multirun:
        raise ChoiceError(f"experiment={experiment}: is a sweep: add -m")
    product = Product([*params, *own])
    report(0, product.count)
    configs, results, launcher = list[RunConfig](), "", LauncherConfig("local", "auto")
    for values in product.compose():
        config, results = from_composed(values)
        if not configs:
            launcher = launcher_config(values["launcher"])
            check_installed(config.execution.tracker)
        configs.append(config)
        report(len(configs), product.count)
    to_fetch = [config for config in configs if config.execution.data_download]
    checked = check_all([config for config in configs if not config.execution.data_download])
    resolved = _resolved([*checked, *to_fetch], launcher)
    folder = create_results_folder(results)
    check_all(to_fetch)
    return Sweep(resolved, experiment, launcher, folder, hide_paths(command), _decided(configs, resolved))


def _check_sweep(override: Override, multirun: bool) -> None:
    """Raise ChoiceError for several values of a key that may have only one."""
    if override.is_sweep_override():
        key, _, value = str(override.input_line).partition("=")
        comma = f"; a text with a comma is quoted: {quote(key, value)}" if key in TEXTS else ""
        if key in ("results", "experiment", "tracker", *LAUNCHER_KEYS):
            raise ChoiceError(f"{shown(override.input_line)}: a sweep has one {key}{comma}")
        if not multirun:
            raise ChoiceError(f"{shown(override.input_line)}: several values need a sweep: add -m{comma}")


def _experiment(own: Sequence[Override]) -> tuple[str, list[Override]]:
    """Return the name of the experiment, "none" without one, and the axes of its sweep."""
    chosen = [override for override in own if override.key_or_group == "experiment"]
    if not chosen:
        return "none", []
    for override in chosen:
        check_group("experiment", override)
    base = compose_config("config", [str(override.input_line) for override in chosen], return_hydra_config=True)
    params = base.hydra.sweeper.get("params") or {}
    return str(base.hydra.runtime.choices.experiment), parse([f"{key}={value}" for key, value in params.items()])


def hide_paths(command: Sequence[str]) -> str:
    """Return a command line for publication: every value that contains an absolute path is replaced by PATH."""
    parts = []
    for part in command:
        key, equals, value = part.rpartition("=")
        parts.append(f"{key}{equals}PATH" if re.search(r"(^|[\s'\"\[(,:])[~/\\]", value) else part)
    return shlex.join(parts)


def from_composed(values: Mapping[str, Any]) -> tuple[RunConfig, str]:
    """Return the config of a run and the results folder from a combination's plain values."""
    results = values["results"]
    if not isinstance(results, str) or not results:
        raise ChoiceError(f"results={shown(results)}: must be a folder's path; a number is one as in results=./7")
    return RunConfig.from_mapping({key: value for key, value in values.items() if key not in ("results", "launcher")}), results


def _resolved(configs: Sequence[RunConfig], launcher: LauncherConfig) -> tuple[RunConfig, ...]:
    """Return the configs resolved for this machine, without duplicates, and those of the runs that they start from.

    A run that may train on several GPUs, `device=cuda:0,cuda:1`, is assigned to the one with the least work, and one that starts
    from another goes where that one is. torch is imported only here, after all other checks, and only where it is needed: to look
    for a GPU, or to see whether a limited address space is enough for it.
    """
    from harness.training.auto import resolve

    if address_space.limit() is not None:
        import torch  # noqa: F401  # for its failure, before anything is started

    resolved = [resolve(config, launcher.device) for config in configs]
    bases = [config.shallower() for config in resolved]
    names = dict.fromkeys(config.run_name() for config in (*bases, *resolved) if config is not None)
    groups: dict[str, dict[str, list[RunConfig]]] = {}
    for base, config in zip(bases, resolved, strict=True):
        group = groups.setdefault((base or config).run_name(), {})
        for each in filter(None, (base, config)):
            group.setdefault(each.run_name(), []).append(each)
    placed: dict[str, RunConfig] = {}
    load = Counter[str]()
    for group in sorted(groups.values(), key=lambda group: -sum(cost(same[0]) for same in group.values())):
        device = min((each.torch_device for same in group.values() for each in same), key=lambda name: load[name])
        for name, same in group.items():
            placed[name] = next((each for each in same if each.torch_device == device), same[0])
            load[placed[name].torch_device] += cost(placed[name])
    return tuple(placed[name] for name in names)


def cost(config: RunConfig) -> int:
    """Return the relative cost of a run, for comparison with others."""
    return config.depth * config.schedule.steps * config.schedule.batch_size


def _decided(configs: Sequence[RunConfig], resolved: Sequence[RunConfig]) -> str:
    if all(config.precision is not Precision.auto for config in configs):
        return ""
    decisions = sorted({f"{config.precision.value} on {config.device}" for config in resolved})
    return f"precision=auto: {', '.join(decisions)}"


def create_results_folder(results: str) -> Path:
    """Return the results folder, created if needed; raises ChoiceError if nothing can be written there."""
    try:
        folder = Path(results).expanduser().resolve()
        str(folder).encode()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no such user, links in a loop; ValueError: a NUL
        reason = (isinstance(error, OSError) and error.strerror) or error_message(error)
        raise ChoiceError(f"results={shown(results)}: cannot be written: {reason}") from error
    return folder
