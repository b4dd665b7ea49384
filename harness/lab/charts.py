"""The lab's figures; their labels are names of keys and symbols, which need no translation."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from harness.lab.runs import Records
from harness.lab.summaries import mean_by_step
from harness.plots.style import OKABE_ITO, arm_styles, clip_for_log, log_axis, panels, shared_legend

BLUE, VERMILLION, GREEN = OKABE_ITO[:3]
ARMS = {"none": "shortcut=none", "identity": "shortcut=identity"}
COLOURS = {name: style["color"] for name, style in arm_styles(ARMS.values()).items()}


def curves(records: Records) -> Figure:
    """Return the training loss of the nets of 56 layers by step: a line a seed, the mean of 10 steps."""
    figure, (ax,) = panels(1, 1, width=6.4)
    for name, arm in ARMS.items():
        for run in records[f"{name}-56"].values():
            ax.plot(run.steps["step"], run.steps["loss"].rolling(10).mean(), color=COLOURS[arm], linewidth=1.1, label=arm)
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, None), title="depth=56")
    shared_legend(figure)
    return figure


def gradients(records: Records) -> Figure:
    """Return ||dL/d(block output)|| by block at initialisation, without and with batch normalisation: a line a seed."""
    figure, axes = panels(1, 2, width=4.4)
    for ax, suffix, title in zip(axes, ("-bare", ""), ("norm=none", "norm=batch"), strict=True):
        tables = [
            (arm, run.blocks.query("step == 0")) for name, arm in ARMS.items() for run in records[f"{name}-56{suffix}"].values()
        ]
        level = log_axis(ax, pd.concat([table["grad_norm"] for _, table in tables]))
        for arm, table in tables:
            ax.plot(table["block"], clip_for_log(table["grad_norm"], level), color=COLOURS[arm], linewidth=1.1, label=arm)
        ax.set(xlabel="block (0: stem)", title=f"depth=56, {title}, step 0")
    axes[0].set_ylabel("‖∂L/∂(block output)‖")
    shared_legend(figure)
    return figure


def modes(records: Records) -> Figure:
    """Return the loss of the same batches in training and in evaluation mode by step, as `mode_losses` has it."""
    figure, (ax,) = panels(1, 1, width=6.4)
    losses = mode_losses(records)
    for mode, line in (("training", "-o"), ("evaluation", "--s")):
        ax.plot(losses.index, losses[mode], line, markersize=3.5, linewidth=1.2, label=f"{mode} mode")
    ax.set(xlabel="step", ylabel="loss of the step's batch", title="depth=20, shortcut=identity")
    ax.set_xscale("symlog", linthresh=1)
    ax.set_ylim(bottom=0)
    shared_legend(figure)
    return figure


def mode_losses(records: Records) -> pd.DataFrame:
    """Return the loss in `training` and `evaluation` mode of the residual net of 20 layers by probed step, mean over seeds."""
    runs = list(records["identity-20"].values())
    evaluation = mean_by_step([run.probe("modes") for run in runs], "evaluation_loss").rename("evaluation")
    return evaluation.to_frame().join(mean_by_step([run.steps for run in runs], "loss").rename("training"), how="inner")


def lesions(records: Records) -> Figure:
    """Return the test error by block without its branch, and without its shortcut: a line a seed."""
    figure, (ax,) = panels(1, 1, width=7.2)
    for name, probe, label, colour in (
        ("identity-20", "lesions", "shortcut=identity, without one branch", BLUE),
        ("identity-20", "shortcut_lesions", "shortcut=identity, without one shortcut", GREEN),
        ("none-20", "lesions", "shortcut=none, without one block", VERMILLION),
    ):
        for run in records[name].values():
            table = run.probe(probe).query("block > 0")
            ax.plot(table["block"], table["test_error"], "-o", color=colour, markersize=3, linewidth=1, label=label)
    ax.set(xlabel="block taken out", ylabel="test error (%)", ylim=(0, 100), title="depth=20")
    shared_legend(figure)
    return figure


def fits(losses: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Return the toy fit's loss by step, a panel a target: median, minimum and maximum over seeds.

    `losses` are [steps, seeds] by target and arm.
    """
    figure, axes = panels(1, len(losses), width=3.4, sharey=True)
    titles = {"identity": "H(x) = x", "near": "H(x) = x + 0.1 Qx", "rotation": "H(x) = Qx"}
    arms = {"plain": ("H = F", VERMILLION), "residual": ("H = x + F", BLUE)}
    for ax, (target, by_arm) in zip(axes, losses.items(), strict=True):
        for arm, loss in by_arm.items():
            label, colour = arms[arm]
            ax.plot(loss.median(dim=1).values, color=colour, label=label)
            ax.fill_between(range(len(loss)), loss.amin(dim=1), loss.amax(dim=1), color=colour, alpha=0.18, linewidth=0)
        ax.set(xlabel="step", title=titles[target], yscale="log", xscale="symlog", xlim=(0, len(loss) - 1))
    axes[0].set_ylabel("mean squared error")
    shared_legend(figure)
    return figure
