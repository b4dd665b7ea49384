"""Take all measurements as plain numbers: seconds per step, and rates. `metrics` computes ratios from them.

Every list has one value per round. The i-th values of the lists of a row were measured right after each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from itertools import product
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
from harness.training.auto import computes_bf16, resolve
from harness.training.devices import deterministic

SHORTCUTS = ("none", "identity")
PRECISIONS = tuple(precision.value for precision in machine.DTYPE)
HEADROOM = 1.25
"""Available memory that a step needs, relative to its least memory (`workload.Work`)."""
Progress = Callable[[str], None]
"""Receives progress messages."""


@dataclass(frozen=True)
class Form:
    """The extent of a measurement. `seconds` is per round and operation; `growth` has depths; `starts` are fresh processes."""

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
    """Return seconds per step of one net, for the harness in each precision (`ours`) and the reference, and the machine's rates.

    `ours` has `step`, `probed`, `norms` (of every layer's weight gradient at every step) and `pipeline` (batches alone). The
    reference runs in a separate process, without the settings of `harness.training.devices.deterministic`.
    """
    device, threads = torch.device(cell.device), cell.threads
    cells = {precision: replace(cell, precision=precision) for precision in PRECISIONS}
    rates = {precision: machine.product(device, Precision(precision), threads) for precision in PRECISIONS}
    rates["copy"] = machine.copy(device, threads)
    repeats: dict[str, Repeat] = {f"rate {name}": repeat for name, (repeat, _) in rates.items()}
    with Child(asdict(cell), "reference") as reference, deterministic(cell.config):
        for precision, net in cells.items():
            ours = Ours(net)
            parts = {"step": ours.step, "probed": ours.probed, "norms": ours.with_norms, "pipeline": ours.batches}
            repeats |= {f"{precision} {name}": part for name, part in parts.items()}
        reference.ready()
        seconds = interleaved(repeats | {"reference": reference.take}, form.rounds, form.seconds)
    works = {precision: work(net.config, net.facts) for precision, net in cells.items()}
    row: dict[str, Any] = {
        **_about(cell),
        "probed_share": cell.probed_share,
        "flops": {precision: work.flops for precision, work in works.items()},
        "bytes": {precision: work.bytes for precision, work in works.items()},
        "reference": seconds["reference"],
        "ours": {precision: {name: seconds[f"{precision} {name}"] for name in parts} for precision in PRECISIONS},
        "rates": {name: [amount / each for each in seconds[f"rate {name}"]] for name, (_, amount) in rates.items()},
    }
    row["figures"] = {}
    for precision in PRECISIONS:
        figures = metrics.step_figures(row, precision)
        row["figures"][precision] = {name: values._asdict() for name, values in figures.items()}
    return row


def start_up(cell: Cell, starts: int) -> dict[str, Any]:
    """Return the seconds until the end of the first step of fresh processes, started one after the other (`Child.start`)."""
    seconds: dict[str, list[float]] = {}
    for _ in range(starts):
        with Child(asdict(cell)) as child:
            child.ready()
            for name, value in child.start.items():
                seconds.setdefault(name, []).append(value)
    return {**_about(cell), "seconds": seconds}


def workers(cell: Cell, form: Form) -> dict[str, Any]:
    """Return seconds per step of `one` process with all threads, and of `two` concurrent processes with half the threads each.

    A round of `two` ends with the slower process, and counts the steps of both.
    """
    half = replace(cell, threads=cell.threads // 2)
    with ExitStack() as stack:
        one, *two = [stack.enter_context(Child(asdict(each))) for each in (cell, half, half)]
        for child in (one, *two):
            child.ready()
        times = max(1, round(2 * form.seconds / one.take(1)["seconds"]))
        seconds: dict[str, list[float]] = {"one": [], "two": []}
        for _ in range(form.rounds):
            seconds["one"].append(one.take(times)["seconds"] / times)
            for child in two:
                child.ask(times)
            seconds["two"].append(max(child.answer()["seconds"] for child in two) / (2 * times))
    return {**_about(cell), "seconds": seconds}


def growth(cells: Sequence[Cell], form: Form, progress: Progress) -> list[dict[str, Any]]:
    """Return seconds per step and memory in MiB of nets of growing depth. Each has a fresh process; the processes take turns.

    A net whose steps may not fit into memory is left out, with a message to `progress`.
    """
    with ExitStack() as stack:
        children: list[tuple[Cell, Child]] = []
        for cell in cells:
            needed = HEADROOM * work(cell.config, cell.facts).memory
            if needed > memory.available():
                progress(f"growth: depth {cell.depth} is left out, its steps may take {needed / 2**30:.1f} GiB")
                continue
            child = stack.enter_context(Child(asdict(cell)))
            child.ready()
            children.append((cell, child))
        rounds = [[child.take(1) for _, child in children] for _ in range(form.growth_rounds + 1)][1:]
    return [
        {**_about(cell), "seconds": [answer["seconds"] for answer in answers], "memory": answers[-1]["memory"]}
        for (cell, _), answers in zip(children, zip(*rounds, strict=True), strict=True)
    ]


def measure(device: str, threads: int, form: Form, command: str, progress: Progress) -> dict[str, Any]:
    """Return a result, as `harness.bench.results` describes it.

    Raises ChoiceError if this machine does not have the device.
    """
    started, notes = time.monotonic(), list[str]()
    cells = [
        Cell(size, shortcut, depth, device=device, threads=threads)
        for size, depth, shortcut in product(form.sizes, form.depths, SHORTCUTS)
    ]
    resolve(cells[0].config)
    rows: dict[str, list[Any]] = {"steps": [], "workers": [], "growth": [], "start_up": []}

    def note(message: str) -> None:
        notes.append(message)
        progress(message)

    for cell in cells:
        progress(f"steps: {_title(cell)}")
        rows["steps"].append(steps(cell, form))
    if device == "cpu" and threads > 1:
        for cell in [cell for cell in cells if cell.size == min(form.sizes)]:
            progress(f"two workers: {_title(cell)}")
            rows["workers"].append(workers(cell, form))
    progress(f"growth: depth {', '.join(map(str, form.growth))}")
    deeper = [Cell(max(form.sizes), "identity", depth, device=device, threads=threads) for depth in form.growth]
    try:
        rows["growth"] = growth(deeper, form, note)
    except ChildProcessError as error:  # perhaps out of memory; the other measurements are still valid
        note(f"growth: {error}")
    for size in form.sizes:
        progress(f"start-up: {size}x{size}")
        rows["start_up"].append(start_up(Cell(size, "identity", 20, device=device, threads=threads), form.starts))
    return {
        "schema": SCHEMA,
        "form": form.name,
        "when": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "seconds": time.monotonic() - started,
        "command": command,
        "cores": available_cores(),
        "bf16_arithmetic": computes_bf16(torch.device(device).type),
        "machine": environment.describe_machine(device, threads),
        "code": environment.code_version(),
        "notes": notes,
        **rows,
        "targets": targets.judge(rows),
    }


def _about(cell: Cell) -> dict[str, Any]:
    return {"size": cell.size, "shortcut": cell.shortcut, "depth": cell.depth, "batch": cell.batch, "threads": cell.threads}


def _title(cell: Cell) -> str:
    return f"{cell.size}x{cell.size}, {cell.shortcut}, {cell.depth} layers"
