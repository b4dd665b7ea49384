"""What a measurement says, as a page: the same sections for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.bench import metrics
from harness.bench.timing import Spread, spread
from harness.reporting import document, render
from harness.reporting.document import Code, Page, Section, Table, Text

Result = Mapping[str, Any]

TITLE = "How fast a training step is"
ABOUT_STEPS = (
    "A step is all of it: batch, augmentation, forward, backward, update, loss and error fetched, and its part of the probes of "
    "the default schedule. Matrix share: three times the FLOPs of a forward pass (convolutions and linear layers, a multiply-add "
    "counting as two) beside the rate of the machine's own product of square matrices in the same precision. Copy share: what "
    "the passes keep, written and read once, and what the optimiser reads and writes, beside the rate of the machine's own copy. "
    "Reference: how many times faster than a plain loop (contiguous NCHW, fp32, DataLoader with transforms image by image, "
    ".item() on every gradient norm, torch.optim.SGD); in brackets when norms are measured at every step here, too."
)
ABOUT_SPREAD = (
    "Values are medians, with the lowest and highest round in brackets. Things that are compared take turns, and a ratio is "
    "formed within a round."
)


def sections(result: Result) -> list[Section]:
    """Return the page of a result: targets first, then what was measured, then the machine."""
    found = [Section("Targets", [_targets(result["targets"])])]
    found.append(Section("Steps", [Text(ABOUT_STEPS), Text(ABOUT_SPREAD), _steps(result["steps"])]))
    found.append(
        Section(
            "Parts of a step", [Text("Beside an ordinary step, which is not probed and has no norms."), _parts(result["steps"])]
        )
    )
    found.append(Section("The machine meanwhile", [_rates(result["steps"])]))
    if result["workers"]:
        found.append(Section("Two workers with half of the threads each", [_workers(result["workers"])]))
    if result["growth"]:
        found.append(
            Section("Growth with depth", [Text("32x32, fp32; memory is what the steps took."), _growth(result["growth"])])
        )
    found.append(Section("Start-up in a fresh process", [Text("Seconds."), _start_up(result["start_up"])]))
    found.append(Section("How it was measured", [Code(result["command"]), *_machine(result)]))
    return found


def terminal(result: Result) -> str:
    """Return the page as text of aligned tables."""
    lines = []
    for section in sections(result):
        lines += [section.title, ""]
        lines += [document.plain_table(part) for part in section.parts if isinstance(part, Table)]
        lines.append("")
    return "\n".join(lines)


def markdown(result: Result) -> str:
    """Return the page as Markdown."""
    return render.render(Page(TITLE, sections(result)))[1]


def _targets(judged: Sequence[Result]) -> Table:
    rows = []
    for one in judged:
        sign, met = (
            "at least" if one["at_least"] else "at most",
            {True: "met", False: "not met", None: "not measured"}[one["met"]],
        )
        measured = "" if one["measured"] is None else _number(one["measured"], one["unit"])
        rows.append([one["what"], f"{sign} {_number(one['bound'], one['unit'])}", measured, met])
    return Table(["target", "bound", "measured", ""], rows)


def _steps(rows: Sequence[Result]) -> Table:
    header = ["images", "shortcut", "depth", "precision", "images/s", "matrix share %", "copy share %", "reference"]
    lines = []
    for row in rows:
        for precision in row["ours"]:
            found = metrics.of_steps(row, precision)
            shares = [_spread(found[name], 100) for name in ("matrix_share", "copy_share")]
            reference = f"{_spread(found['ratio'])} ({found['ratio_norms'].median:.2f})"
            lines.append([*_net(row), precision, _spread(found["images_per_second"]), *shares, reference])
    return Table(header, lines)


def _parts(rows: Sequence[Result]) -> Table:
    header = [
        "images",
        "shortcut",
        "depth",
        "precision",
        "ordinary step (ms)",
        "probed step (times)",
        "norms add (%)",
        "batch alone (%)",
    ]
    lines = []
    for row in rows:
        for precision, ours in row["ours"].items():
            found = metrics.of_steps(row, precision)
            parts = [_spread(found["probed"]), _spread(found["norms"], 100), _spread(found["pipeline"], 100)]
            lines.append([*_net(row), precision, _spread(spread(ours["step"]), 1000), *parts])
    return Table(header, lines)


def _rates(rows: Sequence[Result]) -> Table:
    lines = []
    for row in rows:
        products = [_spread(spread(row["rates"][precision]), 1e-9) for precision in row["ours"]]
        lines.append([*_net(row), *products, _spread(spread(row["rates"]["copy"]), 1e-9)])
    precisions = [f"{precision} products (GFLOP/s)" for precision in rows[0]["ours"]] if rows else []
    return Table(["beside", "shortcut", "depth", *precisions, "copy (GB/s)"], lines)


def _workers(rows: Sequence[Result]) -> Table:
    lines = []
    for row in rows:
        rates = [_spread(spread([row["batch"] / s for s in row["seconds"][name]])) for name in ("one", "two")]
        lines.append([*_net(row), *rates, _spread(metrics.of_workers(row))])
    return Table(["images", "shortcut", "depth", "one: images/s", "two: images/s", "ratio"], lines)


def _growth(rows: Sequence[Result]) -> Table:
    found = metrics.per_layer(rows)
    lines = []
    for number, row in enumerate(rows):
        time, room = found["seconds"][number], found["memory"][number]
        shares = [f"{time / found['seconds'][0]:.2f}", f"{room / found['memory'][0]:.2f}"]
        values = [_spread(spread(row["seconds"])), f"{row['memory']:,.0f}", f"{1000 * time:.2f}", f"{room:.2f}"]
        lines.append([str(row["depth"]), *values, *shares])
    header = [
        "depth",
        "step (s)",
        "memory (MiB)",
        "ms a layer",
        "MiB a layer",
        "time beside the first",
        "memory beside the first",
    ]
    return Table(header, lines)


def _start_up(rows: Sequence[Result]) -> Table:
    names = ["import", "build", "first_step", "total"]
    lines = [[*_net(row), *(_spread(spread(row["seconds"][name])) for name in names)] for row in rows]
    return Table(["images", "shortcut", "depth", "import", "data and net", "first step", "in all"], lines)


def _machine(result: Result) -> list[document.Part]:
    machine, code = result["machine"], result["code"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    about = {
        "form": result["form"],
        "when": result["when"],
        "minutes": round(result["seconds"] / 60, 1),
        "processor": f"{machine['cpu']}, {result['cores']} cores, {machine['torch']['cpu_capability']}",
        "bf16 arithmetic": result["bf16_arithmetic"],
        "GPU": machine["gpu"],
        "threads": machine["threads"],
        "system": f"{machine['system']}, Python {machine['python']}",
        "packages": packages,
        "code": f"{code['commit']}{' with changes' if code['dirty'] else ''}",
    }
    return [document.facts(about), *(Text(note) for note in result["notes"])]


def _net(row: Result) -> list[str]:
    return [f"{row['size']}x{row['size']}", row["shortcut"], str(row["depth"])]


def _spread(found: Spread, factor: float = 1.0) -> str:
    middle, low, high = (_short(factor * value) for value in (found.median, found.min, found.max))
    return f"{middle} [{low}, {high}]"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
