"""How far the runs of a sweep are, read from their folders alone, and the live table of it on a terminal."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.records.value_types import printable

log = logging.getLogger("harness")


@dataclass(frozen=True)
class Place:
    """Where one run stands: its name, state, facts of its status, and how much work it is beside the others."""

    name: str
    state: str
    facts: dict[str, Any]
    work: float

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.state in (*states.FINISHED, states.FAILED, states.KILLED):
            return 1.0
        return min(float(self.facts.get("step", 0) / max(self.facts.get("steps", 1), 1)), 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Time left at the pace so far, of a run that is being trained."""
        step, seconds = self.facts.get("step", 0), self.facts.get("seconds")
        if self.state != states.RUNNING or not seconds or not step:
            return None
        return float(seconds / step * max(self.facts.get("steps", step) - step, 0))


def places(sweep: Path) -> list[Place]:
    """Return where every run of a sweep folder stands; raises RecordError where the folder is no sweep."""
    about = reader.read_json(sweep / paths.SWEEP)
    runs = paths.runs_of(sweep)
    return [_place(Run(runs / name)) for name in about["runs"]]


def _place(run: Run) -> Place:
    try:
        status, config, state = run.status, run.config, run.state_now
    except (RecordError, OSError) as error:
        return Place(run.name, states.DAMAGED, {"error": reader.words(error)}, 1.0)
    work = config["depth"] * config["width"] ** 2 * config["schedule"]["steps"] * config["schedule"]["batch_size"]
    return Place(run.name, state, status, float(work))


def summary(found: list[Place]) -> str:
    """Return how many runs are in which state, and the time left for all at the pace of those that are being trained."""
    counts = Counter(place.state for place in found)
    words = ", ".join(f"{counts[state]} {state}" for state in (*states.STATES, states.DAMAGED) if counts[state])
    paces = [place.work * place.fraction / place.facts["seconds"] for place in found if place.seconds_left is not None]
    if not sum(paces):
        return words
    left = sum(place.work * (1 - place.fraction) for place in found)
    return f"{words}; about {duration(left / sum(paces))} left"


def table(found: list[Place], lines: int | None = None) -> list[str]:
    """Return the table as lines, at most `lines`: the runs being trained first, then those with news, then the rest."""
    order = [states.RUNNING, states.FAILED, states.KILLED, states.DAMAGED, states.DIVERGED, states.INTERRUPTED]
    shown = sorted(found, key=lambda place: order.index(place.state) if place.state in order else len(order))
    shown = shown if lines is None else shown[: max(lines - 3, 1)]
    width = max((len(place.name) for place in shown), default=3)
    head = f"{'run':{width}}  {'state':11}  {'step':>15}  {'loss':>9}  {'error':>7}  {'left':>8}"
    rows = [_row(place, width) for place in shown]
    hidden = len(found) - len(shown)
    return [head, *rows, *([f"... and {hidden} more"] if hidden else []), summary(found)]


def _row(place: Place, width: int) -> str:
    facts = place.facts
    step = f"{facts.get('step', 0)} of {facts.get('steps', '?')}"
    loss = f"{facts['loss']:.4g}" if "loss" in facts else ""
    error = f"{facts['batch_error']:.1f} %" if "batch_error" in facts else ""
    left = duration(place.seconds_left) if place.seconds_left is not None else ""
    why = f"  {printable(facts['error'])}" if facts.get("error") and place.state != states.RUNNING else ""
    return f"{place.name:{width}}  {place.state:11}  {step:>15}  {loss:>9}  {error:>7}  {left:>8}{why}"


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
