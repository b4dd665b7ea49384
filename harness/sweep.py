"""A sweep: a command line becomes a list of runs, the runs are launched, and what they left becomes a report.

Hydra composes every job of the command before the first run starts, so anything wrong anywhere is refused at once. What
is then launched is not the command but the list of runs that are still to do: no duplicates, none done before. State on
disk is the truth: a worker gets a run's folder and leaves everything there.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # the very expansion that Hydra's sweeps use
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from harness import layout, records
from harness.choices import ChoiceError, unknown
from harness.config import DataConfig, RunConfig, ScheduleConfig, available_cores, varying
from harness.data.sources import check
from harness.records import Run

log = logging.getLogger("harness")

GROUPS = ("data", "schedule", "experiment")


@dataclass(frozen=True)
class Sweep:
    """Runs that were asked for together: their configs, resolved and without duplicates, and the experiment's name."""

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
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        swept = [line for line in own if OverridesParser.create().parse_override(line).is_sweep_override()]
        if swept and not multirun:
            raise ChoiceError(f"{swept[0]}: several values need a sweep: add -m")
        single = [line for line in own if line not in swept]
        _check_words(single)
        base = compose("config", single, return_hydra_config=True)
        experiment = str(base.hydra.runtime.choices.experiment)
        if experiment != "none" and not multirun:
            raise ChoiceError(f"experiment={experiment}: is a sweep: add -m")
        params = [f"{key}={value}" for key, value in (base.hydra.sweeper.get("params") or {}).items()]
        lines = OverridesParser.create().parse_overrides([*params, *own])
        jobs = BasicSweeper.split_arguments(lines, None)[0] if multirun else [own]
        _check_words({word for job in jobs for word in job})
        composed = [compose("config", job) for job in jobs]
    pairs = [from_composed(cfg) for cfg in composed]
    return Sweep(_resolved(config for config, _ in pairs), experiment, _writable(pairs[0][1]), published(command))


def published(command: Sequence[str]) -> str:
    """Return a command line fit for others to read: every absolute path in it is replaced by PATH."""
    return " ".join(re.sub(r"(^|=|,|\[|:)(~|/)[^,\]\s]*", r"\1PATH", part) for part in command)


def _check_words(overrides: Iterable[str]) -> None:
    """Raise ChoiceError for a key or a group's choice that does not exist, with the nearest one that does."""
    nested = {"data": DataConfig, "schedule": ScheduleConfig}
    plain = [f.name for f in fields(RunConfig)] + ["results", "experiment"]
    keys = plain + [f"{group}.{f.name}" for group, kind in nested.items() for f in fields(kind)]
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~") not in keys:
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
    return RunConfig.from_mapping(values), str(results)


def _resolved(configs: Iterator[RunConfig]) -> tuple[RunConfig, ...]:
    """Return the configs for this machine, each once, their data checked; torch is imported when all else is right."""
    found = list(configs)
    places = {json.dumps([config.data.name, config.places(), config.schedule.batch_size]): config for config in found}
    for config in places.values():
        check(config)
    from harness.devices import resolve

    by_name = {config.run_name(): config for config in map(resolve, found)}
    return tuple(by_name.values())


def _writable(results: str) -> Path:
    folder = Path(results).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise ChoiceError(f"results={results}: cannot be written: {error.strerror or error}") from error


def start(sweep: Sweep) -> list[RunConfig]:
    """Write sweep.json and the folders of the runs still to do; return those, the most expensive first."""
    runs = {config.run_name(): config for config in sweep.configs}
    sweep.folder.mkdir(parents=True, exist_ok=True)
    about = {"experiment": sweep.experiment, "command": sweep.command, "runs": list(runs)}
    records.write_json(sweep.folder / layout.SWEEP, about)
    left = [config for config in sweep.configs if not records.create(config, sweep.results).finished()]
    if reused := len(runs) - len(left):
        log.info("%d of %d runs were done before and are reused", reused, len(runs))
    return sorted(left, key=lambda config: -config.depth * config.schedule.steps * config.schedule.batch_size)


def launch(configs: Sequence[RunConfig], sweep: Sweep, launcher: Sequence[str]) -> None:
    """Carry out runs through Hydra's launcher, in parallel processes by default; a single one in this process."""
    jobs = [{"run": c.run_name(), "choices": c.choices(), "places": _absolute(c.places())} for c in configs]
    common = {"results": str(sweep.results), "command": sweep.command}
    if len(jobs) == 1 and not launcher:
        carry_out_job(common | jobs[0])
        return
    with _launch_folder(sweep.results) as folder:
        records.write_json(folder / "jobs.json", common | {"jobs": jobs})
        threads = max(int(config.threads) for config in configs)
        workers = max(1, min(available_cores() // threads, len(jobs)))
        choice = [] if any(o.startswith("hydra/launcher=") for o in launcher) else [f"hydra.launcher.n_jobs={workers}"]
        numbers = ",".join(str(number) for number in range(len(jobs)))
        arguments = ["-m", f"folder='{folder}'", f"job={numbers}", *choice, *launcher]
        main = hydra.main(config_path=str(conf_folder()), config_name="launch", version_base="1.3")(work)
        with _arguments(arguments):
            main()


def work(cfg: DictConfig) -> None:
    """Carry out one job of a launch, in whatever process or machine the launcher chose."""
    jobs = records.read_json(Path(cfg.folder) / "jobs.json")
    log_to_stderr()
    carry_out_job({"results": jobs["results"], "command": jobs["command"], **jobs["jobs"][cfg.job]})


def carry_out_job(job: dict[str, Any]) -> None:
    """Train the run of a job into its folder."""
    from harness.training import carry_out

    run = Run(layout.run_folder(Path(job["results"]), job["run"]))
    carry_out(RunConfig.from_mapping(job["choices"]).at(**job["places"]), run, job["command"])


def log_to_stderr() -> None:
    """Show the harness's log lines on stderr, once."""
    if not any(isinstance(handler, logging.StreamHandler) for handler in log.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def _absolute(places: dict[str, Any]) -> dict[str, Any]:
    root = places["root"]
    return places | {"root": None if root is None else str(Path(root).expanduser().resolve())}


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    """Let Hydra, which reads sys.argv, see these arguments."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _launch_folder(results: Path) -> Iterator[Path]:
    """Give a folder for what Hydra and its launcher write, and remove it afterwards."""
    (results / layout.LAUNCH).mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=results / layout.LAUNCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
