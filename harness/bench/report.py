"""Report a result: the same sections for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.bench import metrics
from harness.bench.timing import Spread, spread
from harness.reporting import document, render
from harness.reporting.document import Code, Document, Section, Table, Text

Result = Mapping[str, Any]

TITLE = "How fast a training step is"
ABOUT_STEPS = (
    "A step is complete: batch, augmentation, forward, backward, update, fetching loss and error, and its share of the probes of "
    "the default schedule. Matrix share: three times the FLOPs of a forward pass (convolutions and linear layers, a multiply-add "
    "counting as two) relative to the machine's rate for products of square matrices in the same precision. Copy share: what "
    "the passes keep, written and read once, and what the optimizer reads and writes, relative to the machine's rate of copies. "
    "Reference: speed-up over a plain loop (contiguous NCHW, fp32, DataLoader with transforms image by image, "
    ".item() on every gradient norm, torch.optim.SGD); in parentheses with norms at every step here, too."
)
ABOUT_SPREAD = (
    "Values are medians, with the lowest and highest round in brackets. What is compared takes turns, and ratios are computed "
    "within a round."
)
NET = ("images", "shortcut", "depth")


def sections(result: Result) -> list[Section]:
    """Return the report: targets, measurements, the machine."""
    steps, workers, growth = result["steps"], result["workers"], result["growth"]
    about_growth = Text("32x32, fp32; memory is what the steps took.")
    return [
        Section("Targets", [_targets(result["targets"])]),
        Section("Steps", [Text(ABOUT_STEPS), Text(ABOUT_SPREAD), _steps(steps)]),
        Section("Parts of a step", [Text("Relative to an ordinary step, without probes and norms."), _parts(steps)]),
        Section("Rates of the machine during the steps", [_rates(steps)]),
        *([Section("Two workers with half of the threads each", [_workers(workers)])] if workers else []),
        *([Section("Growth with depth", [about_growth, _growth(growth)])] if growth else []),
        Section("Start-up in a fresh process", [Text("Seconds."), _start_up(result["start_up"])]),
        Section("How it was measured", [Code(result["command"]), *_machine(result)]),
    ]


def terminal(result: Result) -> str:
    """Return the report as text with aligned tables."""
    lines = []
    for section in sections(result):
        tables = [document.plain_table(element) for element in section.elements if isinstance(element, Table)]
        lines += [section.title, "", *tables, ""]
    return "\n".join(lines)


def markdown(result: Result) -> str:
    """Return the report as Markdown."""
    return render.render(Document(TITLE, sections(result)))[1]


def _targets(targets: Sequence[Result]) -> Table:
    outcomes = {True: "met", False: "not met", None: "not measured"}
    rows = []
    for target in targets:
        bound = f"{'at least' if target['at_least'] else 'at most'} {_number(target['bound'], target['unit'])}"
        measured = "" if target["measured"] is None else _number(target["measured"], target["unit"])
        rows.append([target["what"], bound, measured, outcomes[target["met"]]])
    return Table(["target", "bound", "measured", ""], rows)


def _figures(rows: Sequence[Result]) -> Iterator[tuple[list[str], Result, Mapping[str, Spread]]]:
    """Yield the first cells, the seconds and the figures of each net and precision."""
    for row in rows:
        for precision, ours in row["ours"].items():
            yield [*_net(row), precision], ours, metrics.step_figures(row, precision)


def _steps(rows: Sequence[Result]) -> Table:
    lines = []
    for net, _, figures in _figures(rows):
        shares = [_spread(figures[name], 100) for name in ("matrix_share", "copy_share")]
        reference = f"{_spread(figures['ratio'])} ({figures['ratio_norms'].median:.2f})"
        lines.append([*net, _spread(figures["images_per_second"]), *shares, reference])
    return Table([*NET, "precision", "images/s", "matrix share %", "copy share %", "reference"], lines)


def _parts(rows: Sequence[Result]) -> Table:
    lines = []
    for net, ours, figures in _figures(rows):
        parts = [_spread(figures["probed"]), _spread(figures["norms"], 100), _spread(figures["pipeline"], 100)]
        lines.append([*net, _spread(spread(ours["step"]), 1000), *parts])
    units = ("ordinary step (ms)", "probed step (times)", "norms add (%)", "batch alone (%)")
    return Table([*NET, "precision", *units], lines)


def _rates(rows: Sequence[Result]) -> Table:
    precisions = list(rows[0]["ours"]) if rows else []
    lines = [[*_net(row), *(_spread(spread(row["rates"][name]), 1e-9) for name in (*precisions, "copy"))] for row in rows]
    return Table([*NET, *(f"{precision} products (GFLOP/s)" for precision in precisions), "copy (GB/s)"], lines)


def _workers(rows: Sequence[Result]) -> Table:
    lines = []
    for row in rows:
        rates = [_spread(spread([row["batch"] / s for s in row["seconds"][name]])) for name in ("one", "two")]
        lines.append([*_net(row), *rates, _spread(metrics.two_workers(row))])
    return Table([*NET, "one: images/s", "two: images/s", "ratio"], lines)


def _growth(rows: Sequence[Result]) -> Table:
    per_layer = metrics.per_layer(rows)
    lines = []
    for row, seconds, memory in zip(rows, per_layer["seconds"], per_layer["memory"], strict=True):
        relative = [f"{seconds / per_layer['seconds'][0]:.2f}", f"{memory / per_layer['memory'][0]:.2f}"]
        values = [_spread(spread(row["seconds"])), f"{row['memory']:,.0f}", f"{1000 * seconds:.2f}", f"{memory:.2f}"]
        lines.append([str(row["depth"]), *values, *relative])
    header = ("depth", "step (s)", "memory (MiB)", "ms per layer", "MiB per layer", "time relative to first", "memory relative")
    return Table(header, lines)


def _start_up(rows: Sequence[Result]) -> Table:
    names = {"import": "import", "build": "data and net", "first_step": "first step", "total": "total"}
    lines = [[*_net(row), *(_spread(spread(row["seconds"][name])) for name in names)] for row in rows]
    return Table([*NET, *names.values()], lines)


def _machine(result: Result) -> list[document.Element]:
    machine, code = result["machine"], result["code"]
    facts = {
        "form": result["form"],
        "when": result["when"],
        "minutes": round(result["seconds"] / 60, 1),
        "processor": f"{machine['cpu']}, {result['cores']} cores, {machine['torch']['cpu_capability']}",
        "bf16 arithmetic": result["bf16_arithmetic"],
        "GPU": machine["gpu"],
        "threads": machine["threads"],
        "system": f"{machine['system']}, Python {machine['python']}",
        "packages": ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version),
        "code": f"{code['commit']}{' with changes' if code['dirty'] else ''}",
    }
    return [document.facts(facts), *(Text(note) for note in result["notes"])]


def _net(row: Result) -> list[str]:
    return [f"{row['size']}x{row['size']}", row["shortcut"], str(row["depth"])]


def _spread(values: Spread, factor: float = 1.0) -> str:
    middle, low, high = (_short(factor * value) for value in (values.median, values.min, values.max))
    return f"{middle} [{low}, {high}]"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
