"""Run an Optuna study whose trials are runs.

The study is in memory. It is built anew by every command, from the same seed and in the same batches, and asks for the same runs;
those that have ended are read, so an interrupted study ends like an undisturbed one. The state on disk is that of the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from harness.analysis import objective
from harness.config.execution import KEYS as EXECUTION_KEYS
from harness.config.launcher import KEYS as LAUNCHER_KEYS
from harness.config.launcher import LauncherConfig
from harness.config.registry import LAUNCHER, ChoiceError
from harness.config.run import RunConfig
from harness.launching.launch import prepare, run_sweep
from harness.launching.worker import runs_per_process
from harness.planning import space, sweep
from harness.planning.space import Axis, Space
from harness.planning.sweep import Sweep
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run

log = logging.getLogger("harness")

SAMPLER = "TPESampler"


@dataclass(frozen=True)
class Study:
    """A search: its space, objective (a result, minimised) and number of trials, `batch` of which run at a time.

    `sample` is the sweep that covers the space; its launcher, results folder and command are those of the search.
    """

    space: Space
    sample: Sweep
    objective: str
    trials: int
    seed: int
    label: str
    batch: int

    @property
    def folder(self) -> Path:
        return paths.sweep_folder(self.sample.results, self.label)

    def run(self) -> bool:
        """Run the trials; return False if Ctrl-C or SIGTERM stopped them. Raises what `run_sweep` raises."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.seed, constant_liar=True))
        distributions = {axis.key: _distribution(axis) for axis in self.space.axes}
        rows: list[dict[str, Any]] = []
        listed: dict[str, None] = {}
        while len(rows) < self.trials:
            trials = [study.ask(distributions) for _ in range(min(self.batch, self.trials - len(rows)))]
            planned = [self._plan(trial.params) for trial in trials]
            configs = {config.run_name(): config for one in planned for config in one}
            listed |= dict.fromkeys(configs)
            names = [one[-1].run_name() if one else None for one in planned]
            for trial, name in zip(trials, names, strict=True):
                rows.append({"number": trial.number, "run": name, "parameters": trial.params, "value": None})
                rows[-1]["state"] = TrialState.RUNNING.name
            left = [config for name, config in configs.items() if not self._failed(name)]
            if configs and not self._train(left, self._record(listed, rows)):
                return False
            for trial, row in zip(trials, rows[-len(trials) :], strict=True):
                value = objective.score(self._folder_of(row["run"]), self.objective) if row["run"] else None
                state = TrialState.FAIL if value is None else TrialState.COMPLETE
                study.tell(trial, value, state)
                row |= {"value": value, "state": state.name}
                log.info("trial %d: %s", trial.number, "failed" if value is None else f"{self.objective} {value:.4g}")
            if listed:
                content = {"experiment": "none", "command": self.sample.command, **self._record(listed, rows)}
                writer.write_json(self.folder / paths.SWEEP, content)
        return True

    def _plan(self, parameters: Mapping[str, Any]) -> tuple[RunConfig, ...]:
        """Return the run of a trial, preceded by the one that it starts from; empty if the choices are refused."""
        overrides = [axis.override(parameters[axis.key]) for axis in self.space.axes]
        try:
            return sweep.plan([*self.space.fixed, *overrides], False, ["search"]).configs
        except ChoiceError as error:
            log.warning("%s: this trial fails: %s", " ".join(overrides), error)
            return ()

    def _train(self, configs: Sequence[RunConfig], record: Mapping[str, Any]) -> bool:
        batch = replace(self.sample, configs=tuple(configs), label=self.label, record=record)
        return run_sweep(prepare(batch), batch)

    def _record(self, listed: Mapping[str, None], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the content of sweep.json about the runs and the trials so far."""
        search = {"objective": self.objective, "sampler": SAMPLER, "seed": self.seed, "batch": self.batch}
        return {"runs": list(listed), "search": search | {"optuna": optuna.__version__}, "trials": list(rows)}

    def _folder_of(self, name: str) -> Run:
        return Run(paths.run_folder(self.sample.results, name))

    def _failed(self, name: str) -> bool:
        """Return whether a run has failed: its trial keeps its state, or the trials after it would be others."""
        with suppress(RecordError, OSError):
            return self._folder_of(name).state in (states.FAILED, states.KILLED)
        return False


def plan(lines: Sequence[str], objective_name: str, trials: int, seed: int, command: Sequence[str]) -> Study:
    """Return the study that a command line asks for. Raises ChoiceError for anything that cannot be run or searched."""
    searched = space.read(lines)
    sample = sweep.plan([*searched.fixed, *searched.samples], True, command)
    objective.check(objective_name, sample.configs[0].flat())
    own = [line for line in searched.fixed if line.partition("=")[0] not in ("results", *LAUNCHER_KEYS, *EXECUTION_KEYS)]
    digest = sha256(repr((sorted(own), searched.axes, objective_name, seed)).encode()).hexdigest()[:10]
    label = f"search-{'-'.join(axis.key for axis in searched.axes)}"[:80] + f"-{digest}"
    study = Study(searched, sample, objective_name, trials, seed, label, batch=1)
    return replace(study, batch=_recorded_batch(study.folder) or _batch(sample.launcher, study.folder, sample.configs))


def _recorded_batch(folder: Path) -> int:
    """Return the batch of a search that was begun before, perhaps on another machine; 0 if there is none."""
    with suppress(RecordError, OSError, KeyError, TypeError):
        return int(reader.read_json(folder / paths.SWEEP)["search"]["batch"])
    return 0


def _batch(launcher: LauncherConfig, folder: Path, configs: Sequence[RunConfig]) -> int:
    """Return the number of runs that are trained at a time."""
    if not launcher.waits:
        raise ChoiceError("launcher.wait=false: a search waits for its runs, which decide what is tried next")
    if isinstance(launcher.workers, int):
        workers = launcher.workers
    elif launcher.name == "slurm":
        raise ChoiceError("launcher=slurm: a search needs the number of runs at a time: launcher.workers=NUMBER")
    else:
        engine = LAUNCHER[launcher.name](launcher, folder, configs, True)
        workers = engine.most
        engine.close(wait=False)
    return int(workers) * max(map(runs_per_process, configs))


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), step=int(axis.step or 1), log=axis.log)
    return FloatDistribution(axis.low, axis.high, step=axis.step, log=axis.log)
