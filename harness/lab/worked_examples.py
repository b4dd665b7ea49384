"""The chapters worked by hand: the block of numbers, its sliders, and the block of [64, 256, 56, 56]."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from harness.lab import scalar_block, tensor_block
from harness.lab.document import Element, Message, Sliders, columns
from harness.lab.residual_block import FORMULAS, FORWARD
from harness.lab.tensor_block import Quantity
from harness.reporting.document import Heading, Table
from harness.system import memory

SHAPE = (64, 256, 56, 56)
COPIES = 18
"""Largest number of tensors of that shape in memory at once."""


def numbers() -> Iterator[Element]:
    """Work the scalar block in every case, by formula and by autograd side by side."""
    weights, running = scalar_block.WEIGHTS, scalar_block.RUNNING
    yield Message("numbers.block")
    yield Message("numbers.given")
    constants = weights | running
    yield Table([scalar_block.SYMBOLS[name] for name in constants], [[f"{value:g}" for value in constants.values()]])
    yield Message("numbers.norm")
    for case in scalar_block.CASES:
        formula, autograd = (f(weights, running, case) for f in (scalar_block.by_formula, scalar_block.by_autograd))
        rows = []
        for name, (symbol, expression) in FORMULAS.items():
            difference = scalar_block.difference(formula[name], autograd[name])
            rows.append([symbol, expression, _listed(formula[name]), _listed(autograd[name]), f"{difference:.1g}"])
        quoted = ("F", "dx0_shortcut", "dx0_branch", "dx0", "dW1", "dW2", "dx3")
        yield Heading(Message(f"numbers.{case.name}"))
        yield Message(f"numbers.about_{case.name}", **{name: _listed(formula[name]) for name in quoted})
        yield Table(columns("quantity", "formula", "by_formula", "by_autograd", "difference"), rows)


def sliders() -> Iterator[Element]:
    yield Message("sliders.how")
    yield Sliders()


def tensors(shape: tuple[int, int, int, int] = SHAPE) -> Iterator[Element]:
    """Work the block of the note's shape in training and in evaluation mode, with a smaller batch if memory is short."""
    batch, channels, height, width = shape
    while batch > 1 and COPIES * 4 * batch * channels * height * width > memory.SHARE * memory.available():
        batch //= 2
    weights, running = tensor_block.parameters(channels), tensor_block.untrained(channels)
    x0, dy = tensor_block.example((batch, channels, height, width))
    yield Message("tensors.block", shape=str(list(x0.shape)), values=f"{x0.numel():,}")
    if batch < SHAPE[0] and channels == SHAPE[1]:
        yield Message("tensors.less_memory", batch=batch)
    for mode in ("training", "evaluation"):
        quantities, flips = tensor_block.compare(weights, running, x0, dy, mode == "training")
        yield Heading(Message(f"tensors.{mode}"))
        header = columns("quantity", "shape", "mean", "std", "norm", "norm_autograd", "apart")
        yield Table(header, [_cells(quantity) for quantity in quantities])
        yield Message(f"tensors.about_{mode}", **_placeholders(quantities, flips))


def _placeholders(quantities: Sequence[Quantity], flips: int) -> dict[str, str]:
    """Return the placeholder values of the message about a mode."""
    by_name = {quantity.name: quantity for quantity in quantities}
    bias_norms = [norm for name in ("db1", "db2") for norm in (by_name[name].norm, by_name[name].norm_autograd)]
    return {
        "values": f"{max(by_name[name].difference for name in FORWARD):.1g}",
        "gradients": f"{max(quantity.difference for quantity in quantities):.1g}",
        "flips": f"{flips:,}",
        "elements": f"{2 * math.prod(by_name['y'].shape):,}",
        "bias": f"{max(bias_norms):.1g}",
        "weight": f"{by_name['dW2'].norm:.3g}",
        "shortcut": f"{by_name['dx0_shortcut'].norm:.4g}",
        "branch": f"{by_name['dx0_branch'].norm:.4g}",
        "sum": f"{by_name['dx0'].norm:.4g}",
    }


def _cells(q: Quantity) -> list[str]:
    size = "×".join(map(str, q.shape))
    statistics = f"{q.mean:.3g}", f"{q.std:.4g}", f"{q.norm:.6g}", f"{q.norm_autograd:.6g}", f"{q.difference:.1g}"
    return [FORMULAS[q.name][0], size, *statistics]


def _listed(values: Sequence[float]) -> str:
    """Format numbers with a typographic minus sign; numbers below 1e-12, which are only rounding, become 0."""
    return ", ".join(re.sub("^-", "−", f"{value:.4g}") if abs(value) > 1e-12 else "0" for value in values)
