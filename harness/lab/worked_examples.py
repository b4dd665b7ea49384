"""The chapters worked by hand: the block of numbers, its sliders, and the block of [64, 256, 56, 56]."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict

from harness.lab import scalar_block, tensor_block
from harness.lab.document import Chapter, Grid, Part, Sliders, Subheading, Words, said
from harness.lab.tensor_block import Row
from harness.system import memory

SHAPE = (64, 256, 56, 56)
COPIES = 18
"""Tensors of that shape that are held at once, at most."""


def numbers() -> Chapter:
    """Return the scalar block in every case, by formula and by autograd side by side."""
    weights, running = scalar_block.Weights(), scalar_block.Running()
    given = {scalar_symbol(name): value for name, value in {**asdict(weights), **asdict(running)}.items()}
    parts: list[Part] = [
        said("numbers.block"),
        said("numbers.given"),
        Grid(list(given), [[f"{value:g}" for value in given.values()]]),
        said("numbers.norm"),
    ]
    header = [said(f"col.{name}") for name in ("quantity", "formula", "by_formula", "by_autograd", "difference")]
    for case in scalar_block.CASES:
        mine, autograd = scalar_block.by_formula(weights, running, case), scalar_block.by_autograd(weights, running, case)
        rows: list[Sequence[Words]] = []
        for name in (*scalar_block.FORWARD, *scalar_block.BACKWARD):
            symbol, formula = scalar_block.FORMULAS[name]
            apart = scalar_block.difference(mine[name], autograd[name])
            rows.append([symbol, formula, _listed(mine[name]), _listed(autograd[name]), f"{apart:.1g}"])
        parts += [Subheading(said(f"numbers.{case.name}")), said(f"numbers.about_{case.name}", **_facts(mine))]
        parts.append(Grid(header, rows))
    return Chapter("numbers", parts)


def sliders() -> Chapter:
    return Chapter("sliders", [said("sliders.how"), Sliders()])


def tensors(shape: tuple[int, int, int, int] = SHAPE) -> Chapter:
    """Return the block of the note's shape in training and in evaluation mode; of fewer examples where memory is short."""
    batch, (channels, side) = shape[0], shape[1:3]
    while batch > 1 and COPIES * 4 * batch * channels * side * side > memory.SHARE * memory.available():
        batch //= 2
    shape = (batch, *shape[1:])
    weights, running = tensor_block.parameters(channels), tensor_block.untrained(channels)
    x0, dy = tensor_block.example(shape)
    parts: list[Part] = [said("tensors.block", shape=str(list(shape)), values=f"{x0.numel():,}")]
    if batch < SHAPE[0] and channels == SHAPE[1]:
        parts.append(said("tensors.less_memory", batch=batch))
    header = [said(f"col.{name}") for name in ("quantity", "shape", "mean", "std", "norm", "norm_autograd", "apart")]
    for training in (True, False):
        rows, flips = tensor_block.compare(weights, running, x0, dy, training)
        mode = "training" if training else "evaluation"
        parts += [Subheading(said(f"tensors.{mode}")), Grid(header, [_cells(row) for row in rows])]
        parts.append(said(f"tensors.about_{mode}", **_noted(rows, flips)))
    return Chapter("tensors", parts)


def scalar_symbol(name: str) -> str:
    """Return a parameter's name as formulas write it: W₁, γ₂, and μ₁, σ²₁ for running statistics."""
    symbols = {"gamma": "γ", "beta": "β", "mean": "μ", "variance": "σ²"}
    letters, number = name[:-1], name[-1]
    return symbols.get(letters, letters) + {"1": "₁", "2": "₂"}[number]


def _facts(found: scalar_block.Values) -> dict[str, str]:
    return {name: _listed(found[name]) for name in ("F", "dx0_shortcut", "dx0_branch", "dx0", "dW1", "dW2", "dx3")}


def _noted(rows: Sequence[Row], flips: int) -> dict[str, str]:
    found = {row.name: row for row in rows}
    values = [row for row in rows if row.name in scalar_block.FORWARD]
    biases = [found["db1"], found["db2"]]
    return {
        "values": f"{max(row.apart for row in values):.1g}",
        "gradients": f"{max(row.apart for row in rows):.1g}",
        "flips": f"{flips:,}",
        "elements": f"{2 * math.prod(found['y'].shape):,}",
        "bias": f"{max(max(row.norm, row.norm_autograd) for row in biases):.1g}",
        "weight": f"{found['dW2'].norm:.3g}",
        "shortcut": f"{found['dx0_shortcut'].norm:.4g}",
        "branch": f"{found['dx0_branch'].norm:.4g}",
        "sum": f"{found['dx0'].norm:.4g}",
    }


def _cells(row: Row) -> list[str]:
    symbol = scalar_block.FORMULAS[row.name][0]
    size = "×".join(map(str, row.shape))
    return [symbol, size, f"{row.mean:.3g}", f"{row.std:.4g}", f"{row.norm:.6g}", f"{row.norm_autograd:.6g}", f"{row.apart:.1g}"]


def _listed(values: Sequence[float]) -> str:
    """Return numbers with signs as formulas have them; what is rounding alone is 0."""
    return ", ".join(re.sub("^-", "−", f"{value:.4g}") if abs(value) > 1e-12 else "0" for value in values)
