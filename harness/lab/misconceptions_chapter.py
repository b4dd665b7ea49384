"""The chapter on errors in common explanations, each with the numbers that refute it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.lab import charts, misconceptions
from harness.lab.document import Chart, Element, Row, Subheading, Table, columns, message
from harness.lab.runs import Records

STEPS = (0, 1, 2, 5, 10, 20, 50, 101, 202)
"""Steps that the table of training and evaluation mode shows if they were probed, beside the last."""


def chapter(records: Records) -> Iterator[Element]:
    yield from _addition()
    yield from _sum()
    yield from _norm()
    yield from _modes(records)
    yield from _unchanged()
    yield from _bias()


def _addition() -> Iterator[Element]:
    numbers = misconceptions.position_of_the_addition()
    formulas = {"paper": "ReLU(BN₂(·) + x)", "after_relu": "ReLU(BN₂(·)) + x", "no_relu": "BN₂(·) + x"}
    yield Subheading(message("addition.title"))
    yield message("addition.claim")
    rows: list[Row] = [[formula, message(f"addition.{name}"), f"{numbers[name]:.3g}"] for name, formula in formulas.items()]
    yield Table(columns("formula", "sentence", "off_by"), rows)
    yield message("addition.answer", **{name: f"{numbers[name]:.1f}" for name in ("below_paper", "below_after_relu")})


def _sum() -> Iterator[Element]:
    yield Subheading(message("sum.title"))
    yield message("sum.claim")
    slopes = misconceptions.gradient_of_the_sum().items()
    rows: list[Row] = [[message(f"sum.{name}"), *(f"{value:.8g}" for value in slope)] for name, slope in slopes]
    yield Table(columns("block", "slope_note", "slope_right", "by_autograd", "slope_measured"), rows)
    yield message("sum.answer")


def _norm() -> Iterator[Element]:
    gradients = misconceptions.backward_of_batch_norm()
    yield Subheading(message("norm.title"))
    yield message("norm.claim")
    rows: list[Row] = [
        [message(f"col.{mode}"), f"{g.note:.3g}", f"{g.right:.1g}", f"{g.batch_sum:.2g}", f"{g.along:.2g}"]
        for mode, g in gradients.items()
    ]
    yield Table(columns("mode", "norm_note", "norm_right", "batch_sum", "along"), rows)
    yield message("norm.answer", note=f"{100 * gradients['training'].note:.0f}")


def _modes(records: Records) -> Iterator[Element]:
    losses = charts.mode_losses(records)
    last = int(losses.index.max())
    gap = (losses["evaluation"] - losses["training"]).abs()
    worst = int(gap.loc[gap.index <= 50].idxmax())
    yield Subheading(message("modes.title"))
    yield message("modes.claim")
    shown = losses.loc[[step for step in losses.index if step in (*STEPS, last)], ["training", "evaluation"]]
    rows: list[Row] = [[str(step), *(f"{loss:.3f}" for loss in pair)] for step, *pair in shown.itertuples()]
    yield Table(columns("step", "training", "evaluation"), rows)
    verdict = "shrinks" if gap[last] < gap[worst] / 2 else "stays"
    yield message(f"modes.{verdict}", step=worst, early=f"{gap[worst]:.2f}", last=last, late=f"{gap[last]:.2f}")
    yield Chart("modes", message("modes.chart"), charts.modes(records))


def _unchanged() -> Iterator[Element]:
    yield Subheading(message("unchanged.title"))
    yield message("unchanged.claim")
    rows: list[Row] = [
        [message(f"unchanged.{name}"), f"{passage.unchanged:.1f}", f"{passage.zero:.1f}", f"{passage.ratio:.3f}"]
        for name, passage in misconceptions.unchanged_gradient().items()
    ]
    yield Table(columns("block", "unchanged", "zero", "gradient_ratio"), rows)
    yield message("unchanged.answer")


def _bias() -> Iterator[Element]:
    norms = misconceptions.bias_before_norm()
    yield Subheading(message("bias.title"))
    rows: list[Row] = [[message(f"col.{mode}"), f"{bias:.2g}", f"{weight:.4g}"] for mode, (bias, weight) in norms.items()]
    yield Table([*columns("mode"), "‖∂L/∂b‖", "‖∂L/∂W‖"], rows)
    yield message("bias.answer")
