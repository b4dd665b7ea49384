"""All measurements, as plain numbers: seconds a step and rates, one value a round. What they mean is said in `figures`.

Lists of one row of a result have their rounds in common: the i-th values were measured right after each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import torch

from harness.bench import machine, metrics, targets
from harness.bench.process import Child
from harness.bench.results import SCHEMA
from harness.bench.timing import Repeat, interleaved
from harness.bench.workload import Cell, Ours, work
from harness.config.run import Precision
from harness.system import memory
from harness.system.cores import available_cores
from harness.training import environment
from harness.training.devices import computes_bf16, exactly

SHORTCUTS = ("none", "identity")
PRECISIONS = tuple(precision.value for precision in machine.DTYPE)
ROOM = 1.25
"""Memory that must be there for a step, in what it holds at least."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Form:
    """How much is measured: depths, rounds, seconds a round of each thing, depths along which growth is seen, start-ups."""

    name: str
    sizes: tuple[int, ...]
    depths: tuple[int, ...]
    rounds: int
    seconds: float
    growth: tuple[int, ...]
    growth_rounds: int
    starts: int


FULL = Form("full", (32, 8), (20, 56, 110), 7, 0.3, (20, 56, 110, 1202), 3, 3)
QUICK = Form("quick", (32, 8), (20, 56), 3, 0.1, (20, 56), 3, 1)


def steps(cell: Cell, form: Form) -> dict[str, Any]:
    """Return the rounds of one net: our step in each precision, the reference's, and the machine's rates.

    Of our step: `step`, `probed`, `norms` (of every layer's weight gradient at every step) and `pipeline` (batches alone). The
    reference is a process of its own: what `harness.training.devices.exactly` sets for ours is not for it.
    """
    device, threads = torch.device(cell.device), cell.threads
    cells = {precision: Cell(cell.size, cell.shortcut, cell.depth, precision, cell.device, threads) for precision in PRECISIONS}
    rates = {precision: machine.product(device, Precision(precision), threads) for precision in PRECISIONS}
    rates["copy"] = machine.copy(device, threads)
    things: dict[str, Repeat] = {f"rate {name}": repeat for name, (repeat, _) in rates.items()}
    with Child(cell.as_json(), "reference") as reference, exactly(cell.config):
        for precision, one in cells.items():
            ours = Ours(one)
            parts = {"step": ours.step, "probed": ours.probed, "norms": ours.with_norms, "pipeline": ours.batches}
            things |= {f"{precision} {name}": part for name, part in parts.items()}
        reference.ready()
        found = interleaved(things | {"reference": reference.take}, form.rounds, form.seconds)
    works = {precision: work(one) for precision, one in cells.items()}
    return {
        **_about(cell),
        "probed_share": cell.probed_share,
        "flops": {precision: one.flops for precision, one in works.items()},
        "bytes": {precision: one.bytes for precision, one in works.items()},
        "reference": found["reference"],
        "ours": {precision: {name: found[f"{precision} {name}"] for name in parts} for precision in PRECISIONS},
        "rates": {name: [amount / seconds for seconds in found[f"rate {name}"]] for name, (_, amount) in rates.items()},
    }


def start_up(cell: Cell, starts: int) -> dict[str, Any]:
    """Return what several fresh processes took, one after the other, until their first step was done."""
    found = []
    for _ in range(starts):
        with Child(cell.as_json()) as child:
            child.ready()
            found.append(child.start)
    return {**_about(cell), "seconds": {name: [one[name] for one in found] for name in found[0]}}


def workers(cell: Cell, form: Form) -> dict[str, Any]:
    """Return seconds a step of `one` process with all threads, and of `two` with half of them each, both taken together.

    Two processes take their steps at the same time, and the later one's end counts.
    """
    half = Cell(cell.size, cell.shortcut, cell.depth, cell.precision, cell.device, cell.threads // 2)
    with ExitStack() as stack:
        one, *two = [stack.enter_context(Child(one.as_json())) for one in (cell, half, half)]
        for child in (one, *two):
            child.ready()
        times = max(1, round(2 * form.seconds / one.take(1)["seconds"]))
        found: dict[str, list[float]] = {"one": [], "two": []}
        for _ in range(form.rounds):
            found["one"].append(one.take(times)["seconds"] / times)
            for child in two:
                child.ask(times)
            found["two"].append(max(child.answer()["seconds"] for child in two) / (2 * times))
    return {**_about(cell), "seconds": found}


def growth(cells: Sequence[Cell], form: Form, say: Say) -> list[dict[str, Any]]:
    """Return seconds a step and memory in MiB of nets of growing depth, each in a process of its own, taking turns.

    A net whose steps may not fit into memory is left out, as `say` is told.
    """
    found = []
    with ExitStack() as stack:
        children: list[tuple[Cell, Child]] = []
        for cell in cells:
            needed = ROOM * work(cell).memory
            if needed > memory.available():
                say(f"growth: depth {cell.depth} is left out, its steps may take {needed / 2**30:.1f} GiB")
                continue
            children.append((cell, stack.enter_context(Child(cell.as_json()))))
            children[-1][1].ready()
        rounds = [[child.take(1) for _, child in children] for _ in range(form.growth_rounds + 1)][1:]
        for number, (cell, _) in enumerate(children):
            seconds = [one[number]["seconds"] for one in rounds]
            found.append({**_about(cell), "seconds": seconds, "memory": rounds[-1][number]["memory"]})
    return found


def measure(device: str, threads: int, form: Form, command: str, say: Say) -> dict[str, Any]:
    """Return the result of a form, as `harness.bench.results` describes it; `say` is told how far it is.

    Raises ChoiceError for a device that this machine does not have.
    """
    started, notes = time.monotonic(), list[str]()
    nets = [(size, shortcut, depth) for size in form.sizes for depth in form.depths for shortcut in SHORTCUTS]
    cells = [Cell(*net, device=device, threads=threads) for net in nets]
    cells[0].check()
    found: dict[str, Any] = {"steps": [], "workers": [], "growth": [], "start_up": []}

    def note(words: str) -> None:
        notes.append(words)
        say(words)

    for cell in cells:
        say(f"steps: {cell.size}x{cell.size}, {cell.shortcut}, {cell.depth} layers")
        row = steps(cell, form)
        found["steps"].append(row | {"figures": _figures(row)})
    small, large = min(form.sizes), max(form.sizes)
    if device == "cpu" and threads > 1:
        for cell in [cell for cell in cells if cell.size == small]:
            say(f"two workers: {cell.size}x{cell.size}, {cell.shortcut}, {cell.depth} layers")
            found["workers"].append(workers(cell, form))
    say(f"growth: depth {', '.join(map(str, form.growth))}")
    deeper = [Cell(large, "identity", depth, device=device, threads=threads) for depth in form.growth]
    try:
        found["growth"] = growth(deeper, form, note)
    except ChildProcessError as error:  # killed, perhaps, by a system short of memory: the rest is worth keeping
        note(f"growth: {error}")
    for size in form.sizes:
        say(f"start-up: {size}x{size}")
        found["start_up"].append(start_up(Cell(size, "identity", 20, device=device, threads=threads), form.starts))
    return {
        "schema": SCHEMA,
        "form": form.name,
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "seconds": time.monotonic() - started,
        "command": command,
        "cores": available_cores(),
        "bf16_arithmetic": computes_bf16(torch.device(device)),
        "machine": environment.describe_machine(device, threads),
        "code": environment.code_version(),
        "notes": notes,
        **found,
        "targets": targets.judge(found),
    }


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    found = {precision: metrics.of_steps(row, precision) for precision in row["ours"]}
    return {precision: {name: one.as_json() for name, one in values.items()} for precision, values in found.items()}


def _about(cell: Cell) -> dict[str, Any]:
    return {"size": cell.size, "shortcut": cell.shortcut, "depth": cell.depth, "batch": cell.batch, "threads": cell.threads}
