"""The lab's figures; their labels are names of keys and symbols, which need no translation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from harness.lab.runs import Records
from harness.lab.summaries import at_step
from harness.plots.style import drawn, log_axis, panels, series_styles, shared_legend

NAMES = {"none": "shortcut=none", "identity": "shortcut=identity"}


def curves(records: Records) -> Figure:
    """Return the training loss of the nets of 56 layers: a line a seed, the mean of 10 steps."""
    figure, (ax,) = panels(1, 1, width=6.4)
    styles = series_styles(NAMES.values())
    for name, label in NAMES.items():
        for run in records[f"{name}-56"].values():
            smooth = run.steps["loss"].rolling(10).mean()
            ax.plot(run.steps["step"], smooth, color=styles[label]["color"], linewidth=1.1, label=label)
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, None), title="depth=56")
    shared_legend(figure, [ax])
    return figure


def gradients(records: Records) -> Figure:
    """Return ||dL/d(block output)|| by block at initialisation, without and with batch normalisation: a line a seed."""
    figure, axes = panels(1, 2, width=4.4)
    styles = series_styles(NAMES.values())
    for ax, end, title in zip(axes, ("-bare", ""), ("norm=none", "norm=batch"), strict=True):
        frames = {
            (name, seed): run.blocks.query("step == 0") for name in NAMES for seed, run in records[f"{name}-56{end}"].items()
        }
        level = log_axis(ax, pd.concat([frame["grad_norm"] for frame in frames.values()]))
        for (name, _), frame in frames.items():
            label = NAMES[name]
            ax.plot(frame["block"], drawn(frame["grad_norm"], level), color=styles[label]["color"], linewidth=1.1, label=label)
        ax.set(xlabel="block (0: stem)", title=f"depth=56, {title}, step 0")
    axes[0].set_ylabel("‖∂L/∂(block output)‖")
    shared_legend(figure, axes)
    return figure


def modes(records: Records) -> Figure:
    """Return the loss of the same batches in training and in evaluation mode, by step: means over seeds."""
    figure, (ax,) = panels(1, 1, width=6.4)
    table = mode_losses(records)
    for column, label, style in (("training", "training mode", "-o"), ("evaluation", "evaluation mode", "--s")):
        ax.plot(table.index, table[column], style, markersize=3.5, linewidth=1.2, label=label)
    ax.set(xlabel="step", ylabel="loss of the step's batch", title="depth=20, shortcut=identity")
    ax.set_xscale("symlog", linthresh=1)
    ax.set_ylim(bottom=0)
    shared_legend(figure, [ax])
    return figure


def mode_losses(records: Records) -> pd.DataFrame:
    """Return columns training and evaluation by probed step, but for the end: means over the seeds of the residual net of 20."""
    runs = list(records["identity-20"].values())
    table = pd.DataFrame({"evaluation": at_step([run.probe("modes") for run in runs], "evaluation_loss")})
    return table.join(at_step([run.steps for run in runs], "loss").rename("training"), how="inner")


def lesions(records: Records) -> Figure:
    """Return the test error without each block's branch, and without each block's shortcut: a line a seed."""
    figure, (ax,) = panels(1, 1, width=7.2)
    kinds: Sequence[tuple[str, str, str, str]] = (
        ("identity-20", "lesions", "shortcut=identity, without one branch", "#0072B2"),
        ("identity-20", "shortcut_lesions", "shortcut=identity, without one shortcut", "#009E73"),
        ("none-20", "lesions", "shortcut=none, without one block", "#D55E00"),
    )
    for name, probe, label, colour in kinds:
        for run in records[name].values():
            table = run.probe(probe).query("block > 0")
            ax.plot(table["block"], table["test_error"], "-o", color=colour, markersize=3, linewidth=1, label=label)
    ax.set(xlabel="block taken out", ylabel="test error (%)", ylim=(0, 100), title="depth=20")
    shared_legend(figure, [ax])
    return figure


def fits(curves_of: Mapping[str, Mapping[str, Any]], steps: Sequence[int]) -> Figure:
    """Return the toy fit's loss by step, a panel a target: median over seeds, and from the least to the greatest."""
    figure, axes = panels(1, len(curves_of), width=3.4, sharey=True)
    titles = {"identity": "H(x) = x", "near": "H(x) = x + 0.1 Qx", "rotation": "H(x) = Qx"}
    for ax, (target, arms) in zip(axes, curves_of.items(), strict=True):
        for (arm, losses), colour in zip(arms.items(), ("#D55E00", "#0072B2"), strict=True):
            ax.plot(steps, losses.median(dim=1).values, color=colour, label={"plain": "H = F", "residual": "H = x + F"}[arm])
            ax.fill_between(steps, losses.amin(dim=1), losses.amax(dim=1), color=colour, alpha=0.18, linewidth=0)
        ax.set(xlabel="step", title=titles[target], yscale="log", xscale="symlog", xlim=(0, len(steps) - 1))
    axes[0].set_ylabel("mean squared error")
    shared_legend(figure, axes)
    return figure
