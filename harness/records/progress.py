"""Read the progress of a sweep's runs from their folders, and format it as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.records.value_types import printable
from harness.system import locks
from harness.system.owner import is_here

ORDER = (states.RUNNING, states.FAILED, states.KILLED, states.DAMAGED, states.DIVERGED, states.INTERRUPTED)
"""Order of the states in the table; other states come last."""


@dataclass(frozen=True)
class Progress:
    """Progress of one run: its name, state and status, its work in arbitrary units, and the host and job that train it."""

    name: str
    state: str
    facts: dict[str, Any]
    work: float
    where: str = ""

    @property
    def fraction(self) -> float:
        """The completed fraction, from 0 to 1."""
        if self.state in (*states.FINISHED, states.FAILED, states.KILLED):
            return 1.0
        return min(float(self.facts.get("step", 0) / max(self.facts.get("steps", 1), 1)), 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining time of a run that is being trained; None for other runs."""
        step, seconds = self.facts.get("step", 0), self.facts.get("seconds")
        if self.state != states.RUNNING or not seconds or not step:
            return None
        return float(seconds / step * max(self.facts.get("steps", step) - step, 0))


def read_progress(sweep: Path) -> list[Progress]:
    """Return the progress of every run of a sweep folder. Raises RecordError if the folder is not a sweep."""
    runs = paths.runs_of(sweep)
    return [_read_run(Run(runs / name)) for name in reader.read_json(sweep / paths.SWEEP)["runs"]]


def _read_run(run: Run) -> Progress:
    try:
        status, config, state = run.status, run.config, run.state_now
    except (RecordError, OSError) as error:
        return Progress(run.name, states.DAMAGED, {"error": reader.describe_error(error)}, 1.0)
    work = config["depth"] * config["width"] ** 2 * config["schedule"]["steps"] * config["schedule"]["batch_size"]
    return Progress(run.name, state, status, float(work), _where(run) if state == states.RUNNING else "")


def _where(run: Run) -> str:
    """Return the host and the job that train the run; empty for a process of this machine without a job."""
    lock = paths.lock(run.folder.parent.parent, run.name)
    owner = locks.owner(lock)
    if owner is None or (is_here(owner) and not owner.job):
        return ""
    where = f"on {owner.host}" + (f", job {owner.job}" if owner.job else "")
    silent = 0.0 if is_here(owner) else locks.silent_seconds(lock)
    return f"{where}, no sign of life for {duration(silent)}" if silent > locks.EXPIRY else where


def summary(runs: list[Progress]) -> str:
    """Return the number of runs in each state, and the estimated time until all are done."""
    counts = Counter(run.state for run in runs)
    text = ", ".join(f"{counts[state]} {state}" for state in (*states.STATES, states.DAMAGED) if counts[state])
    pace = sum(run.work * run.fraction / run.facts["seconds"] for run in runs if run.seconds_left is not None)
    if not pace:
        return text
    left = sum(run.work * (1 - run.fraction) for run in runs)
    return f"{text}; about {duration(left / pace)} left"


def table(runs: list[Progress], lines: int | None = None) -> list[str]:
    """Return the table as lines, at most `lines` of them; running runs come first, then those with a problem."""
    ordered = sorted(runs, key=lambda run: ORDER.index(run.state) if run.state in ORDER else len(ORDER))
    listed = ordered if lines is None else ordered[: max(lines - 3, 1)]
    width = max((len(run.name) for run in listed), default=3)
    header = f"{'run':{width}}  {'state':11}  {'step':>15}  {'loss':>9}  {'error':>7}  {'left':>8}"
    hidden = len(runs) - len(listed)
    return [header, *(_row(run, width) for run in listed), *([f"... and {hidden} more"] if hidden else []), summary(runs)]


def _row(run: Progress, width: int) -> str:
    facts = run.facts
    step = f"{facts.get('step', 0)} of {facts.get('steps', '?')}"
    loss = f"{facts['loss']:.4g}" if "loss" in facts else ""
    error = f"{facts['batch_error']:.1f} %" if "batch_error" in facts else ""
    left = duration(run.seconds_left) if run.seconds_left is not None else ""
    reason = f"  {printable(facts['error'])}" if facts.get("error") and run.state != states.RUNNING else ""
    where = f"  {printable(run.where)}" if run.where else ""
    return f"{run.name:{width}}  {run.state:11}  {step:>15}  {loss:>9}  {error:>7}  {left:>8}{reason}{where}"


def duration(seconds: float) -> str:
    """Return a duration with a suitable unit: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
