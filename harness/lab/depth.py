"""Chapters on shortcuts, on degradation and on gradients, from nets of 20 and 56 layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median

from harness.lab import charts
from harness.lab.document import Element, Message, chart, columns
from harness.lab.runs import SCHEDULE, Records
from harness.lab.summaries import PHASES, BySeed, compare, error_cells, errors, gradient_ratio, magnitudes, spread
from harness.records import paths, reader
from harness.reporting.document import Table

FINDING = Path(__file__).resolve().parents[2] / "results" / paths.FINDINGS / "2026-11-23-demo"
"""A committed finding with nets of up to 110 layers; an installed package does not have it."""
DEPTHS = (20, 56)
ERRORS = ("net", "depth", "train_error", "test_error")


def shortcut(records: Records) -> Iterator[Element]:
    """What does a shortcut do?"""
    plain, residual = (errors(records[f"{shortcut}-56"], "train_error") for shortcut in charts.ARMS)
    yield Message("shortcut.idea")
    yield compare(
        "shortcut.measured",
        plain,
        residual,
        parameters=f"{records['none-56'][0].status['parameters']:,}",
        steps=SCHEDULE.steps,
        plain=spread(plain.values()),
        residual=spread(residual.values()),
    )
    yield chart("curves", "shortcut.chart", charts.curves(records))


def improved(records: Records) -> Iterator[Element]:
    """What did residual nets improve, and which problem did they solve?"""
    yield Message("improved.problem")
    rows = [
        [arm, str(depth), *error_cells(records[f"{shortcut}-{depth}"])]
        for shortcut, arm in charts.ARMS.items()
        for depth in DEPTHS
    ]
    yield Table(columns(*ERRORS), rows)
    plain, residual = (_rise(records, shortcut, "train_error") for shortcut in charts.ARMS)
    yield compare("improved.measured", plain, residual, plain=spread(plain.values()), residual=spread(residual.values()))
    train, test = fmean(plain.values()), fmean(_rise(records, "none", "test_error").values())
    yield Message(f"improved.{'training' if train > 0.5 * test else 'test'}", train=f"{train:.1f}", test=f"{test:.1f}")
    yield Message("improved.limits", steps=SCHEDULE.steps)
    table = FINDING / paths.RUNS_TABLE
    if not table.is_file():
        return
    runs = reader.read_table(table).sort_values(["shortcut", "depth"], ascending=[False, True])
    steps, seeds = f"{runs['schedule.steps'].iloc[0]:,}", runs["seed"].nunique()
    yield Message("improved.finding", name=FINDING.name, steps=steps, seeds=seeds)
    rows = [
        [f"shortcut={run.shortcut}", str(run.depth), f"{run.train_error:.1f}", f"{run.test_error:.1f}"]
        for run in runs.itertuples()
    ]
    yield Table(columns(*ERRORS), rows)


def survive(records: Records) -> Iterator[Element]:
    """Why do gradients survive: derivation, then measurement."""
    for key in ("plain", "residual", "original", "norm"):
        yield Message(f"survive.{key}")
    rows = []
    initial = {}
    for suffix, norm in (("", "norm=batch"), ("-bare", "norm=none")):
        for shortcut, arm in charts.ARMS.items():
            for depth in DEPTHS:
                runs = records[f"{shortcut}-{depth}{suffix}"].values()
                ratios = [[gradient_ratio(run, steps) for run in runs] for steps in PHASES]
                rows.append([f"{arm}, {norm}", str(depth), *map(magnitudes, ratios)])
                initial[f"{shortcut}{suffix}"] = ratios[0]  # of 56 layers
    yield Table(columns("net", "depth", "ratio_initial", "ratio_early"), rows)
    for suffix in ("-bare", ""):
        yield from _survived(initial[f"none{suffix}"], initial[f"identity{suffix}"], suffix)
    yield chart("gradients", "survive.chart", charts.gradients(records))


def _rise(records: Records, shortcut: str, column: str) -> BySeed:
    """Return by how many points an error is higher at 56 layers than at 20, by seed."""
    shallow, deep = (errors(records[f"{shortcut}-{depth}"], column) for depth in DEPTHS)
    return {seed: deep[seed] - shallow[seed] for seed in deep}


def _survived(plain: Sequence[float], residual: Sequence[float], suffix: str) -> Iterator[Message]:
    """State the gradient ratios at 56 layers before training, and which nets are nearer to 1."""
    values = {"plain": magnitudes(plain), "residual": magnitudes(residual)}
    yield Message(f"survive.measured{suffix}", **values, plain_fate=_fate(plain), residual_fate=_fate(residual))
    decades = [abs(math.log10(median(ratios))) for ratios in (plain, residual)]
    nearer = "nearer" if decades[1] < decades[0] else "farther"
    yield Message(f"survive.{nearer}", plain=f"{decades[0]:.1f}", residual=f"{decades[1]:.1f}")
    if suffix and median(residual) > 10:
        yield Message("survive.grows")
    elif not suffix and median(plain) >= 0.1:
        yield Message("survive.no_vanishing")


def _fate(ratios: Sequence[float]) -> Message:
    """Return whether gradients vanish (ratio below 0.1), explode (above 10) or stay in between."""
    ratio = median(ratios)
    return Message(f"survive.{'vanishes' if ratio < 0.1 else 'explodes' if ratio > 10 else 'stays'}")
