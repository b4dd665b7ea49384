"""The chapter on errors in common explanations, each beside the numbers that show it to be one."""

from __future__ import annotations

from harness.lab import charts, misconceptions
from harness.lab.document import Chapter, Chart, Grid, Part, Rows, Subheading, said
from harness.lab.runs import Records

STEPS = (0, 1, 2, 5, 10)
"""The first steps that the table of training and evaluation mode shows."""


def chapter(records: Records) -> Chapter:
    return Chapter("errors", [*_addition(), *_sum(), *_norm(), *_modes(records), *_unchanged()])


def _addition() -> list[Part]:
    found = misconceptions.position_of_the_addition()
    names = (("paper", "ReLU(BN₂(·) + x)"), ("after_relu", "ReLU(BN₂(·)) + x"), ("no_relu", "BN₂(·) + x"))
    rows: Rows = [[formula, said(f"addition.{name}"), f"{found[name]:.3g}"] for name, formula in names]
    shares = {name: f"{found[name]:.1f}" for name in ("below_paper", "below_after_relu")}
    return [
        Subheading(said("addition.title")),
        said("addition.claim"),
        Grid([said("col.formula"), said("col.sentence"), said("col.off_by")], rows),
        said("addition.answer", **shares),
    ]


def _sum() -> list[Part]:
    found = misconceptions.gradient_of_the_sum()
    rows: Rows = []
    for name, slope in found.items():
        rows.append([said(f"sum.{name}"), *(f"{value:.8g}" for value in slope)])
    header = [said(f"col.{name}") for name in ("block", "slope_note", "slope_right", "by_autograd", "slope_measured")]
    return [Subheading(said("sum.title")), said("sum.claim"), Grid(header, rows), said("sum.answer")]


def _norm() -> list[Part]:
    found = misconceptions.backward_of_batch_norm()
    rows: Rows = [
        [said(f"col.{mode}"), f"{one.note:.3g}", f"{one.right:.1g}", f"{one.batch_sum:.2g}", f"{one.along:.2g}"]
        for mode, one in found.items()
    ]
    header = [said(f"col.{name}") for name in ("mode", "norm_note", "norm_right", "batch_sum", "along")]
    return [
        Subheading(said("norm.title")),
        said("norm.claim"),
        Grid(header, rows),
        said("norm.answer", note=f"{100 * found['training'].note:.0f}"),
    ]


def _modes(records: Records) -> list[Part]:
    table = charts.mode_losses(records)
    last = int(table.index.max())
    shown = [step for step in table.index if step in (*STEPS, 20, 50, 101, 202, last)]
    rows: Rows = [[str(step), *(f"{table.loc[step, mode]:.3f}" for mode in ("training", "evaluation"))] for step in shown]
    gap = (table["evaluation"] - table["training"]).abs()
    worst = int(gap.loc[gap.index <= 50].idxmax())
    numbers: dict[str, str | int] = {"step": worst, "early": f"{gap[worst]:.2f}", "last": last, "late": f"{gap[last]:.2f}"}
    verdict = "shrinks" if gap[last] < gap[worst] / 2 else "stays"
    return [
        Subheading(said("modes.title")),
        said("modes.claim"),
        Grid([said("col.step"), said("col.training"), said("col.evaluation")], rows),
        said(f"modes.{verdict}", **numbers),
        Chart("modes", said("modes.chart"), charts.modes(records)),
    ]


def _unchanged() -> list[Part]:
    rows: Rows = [
        [said(f"unchanged.{name}"), f"{one.unchanged:.1f}", f"{one.zero:.1f}", f"{one.ratio:.3f}"]
        for name, one in misconceptions.unchanged_gradient().items()
    ]
    header = [said(f"col.{name}") for name in ("block", "unchanged", "zero", "gradient_ratio")]
    biases = misconceptions.bias_before_norm()
    bias_rows: Rows = [[said(f"col.{mode}"), f"{bias:.2g}", f"{weight:.4g}"] for mode, (bias, weight) in biases.items()]
    return [
        Subheading(said("unchanged.title")),
        said("unchanged.claim"),
        Grid(header, rows),
        said("unchanged.answer"),
        Subheading(said("bias.title")),
        Grid([said("col.mode"), "‖∂L/∂b‖", "‖∂L/∂W‖"], bias_rows),
        said("bias.answer"),
    ]
