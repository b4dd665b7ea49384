"""The chapter on errors in common explanations, each with the numbers that refute it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.lab import charts, misconceptions
from harness.lab.document import Element, Message, chart, columns
from harness.lab.runs import Records
from harness.reporting.document import Heading, Table

STEPS = (0, 1, 2, 5, 10, 20, 50, 101, 202)
"""Probed steps in the table of training and evaluation mode, besides the last."""
ADDITIONS = {"paper": "ReLU(BN₂(·) + x)", "after_relu": "ReLU(BN₂(·)) + x", "no_relu": "BN₂(·) + x"}


def chapter(records: Records) -> Iterator[Element]:
    """Measure each error; the last section, on biases, quotes no explanation."""
    addition = misconceptions.position_of_the_addition()
    rows = [[formula, Message(f"addition.{name}"), f"{addition[name]:.3g}"] for name, formula in ADDITIONS.items()]
    yield from _claim("addition", columns("formula", "sentence", "off_by"), rows)
    yield Message("addition.answer", **{name: f"{addition[name]:.1f}" for name in ("below_paper", "below_after_relu")})

    slopes = misconceptions.gradient_of_the_sum()
    rows = [[Message(f"sum.{name}"), *(f"{value:.8g}" for value in slope)] for name, slope in slopes.items()]
    yield from _claim("sum", columns("block", "slope_note", "slope_right", "by_autograd", "slope_measured"), rows)
    yield Message("sum.answer")

    gradients = misconceptions.backward_of_batch_norm()
    rows = [
        [Message(f"col.{mode}"), f"{g.note:.3g}", f"{g.right:.1g}", f"{g.batch_sum:.2g}", f"{g.along:.2g}"]
        for mode, g in gradients.items()
    ]
    yield from _claim("norm", columns("mode", "norm_note", "norm_right", "batch_sum", "along"), rows)
    yield Message("norm.answer", note=f"{100 * gradients['training'].note:.0f}")

    yield from _modes(records)

    rows = [
        [Message(f"unchanged.{name}"), f"{passage.unchanged:.1f}", f"{passage.zero:.1f}", f"{passage.ratio:.3f}"]
        for name, passage in misconceptions.unchanged_gradient().items()
    ]
    yield from _claim("unchanged", columns("block", "unchanged", "zero", "gradient_ratio"), rows)
    yield Message("unchanged.answer")

    norms = misconceptions.bias_before_norm()
    rows = [[Message(f"col.{mode}"), f"{bias:.2g}", f"{weight:.4g}"] for mode, (bias, weight) in norms.items()]
    yield Heading(Message("bias.title"))
    yield Table([*columns("mode"), "‖∂L/∂b‖", "‖∂L/∂W‖"], rows)
    yield Message("bias.answer")


def _claim(key: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Element]:
    """Quote a common explanation, and show the measurements."""
    yield Heading(Message(f"{key}.title"))
    yield Message(f"{key}.claim")
    yield Table(header, rows)


def _modes(records: Records) -> Iterator[Element]:
    losses = charts.mode_losses(records)
    last = int(losses.index.max())
    gap = (losses["evaluation"] - losses["training"]).abs()
    worst = int(gap.loc[gap.index <= 50].idxmax())
    table = losses.loc[losses.index.isin((*STEPS, last)), ["training", "evaluation"]]
    rows = [[str(step), f"{training:.3f}", f"{evaluation:.3f}"] for step, training, evaluation in table.itertuples()]
    yield from _claim("modes", columns("step", "training", "evaluation"), rows)
    outcome = "shrinks" if gap[last] < gap[worst] / 2 else "stays"
    yield Message(f"modes.{outcome}", step=worst, early=f"{gap[worst]:.2f}", last=last, late=f"{gap[last]:.2f}")
    yield chart("modes", "modes.chart", charts.modes(records))
