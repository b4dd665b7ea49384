"""What shortcuts do, what residual nets improved, and why their gradients survive, from the lab's runs."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from harness.lab import charts
from harness.lab.document import Chapter, Chart, Grid, Part, Rows, Said, said
from harness.lab.runs import SCHEDULE, Records
from harness.lab.summaries import MOMENTS, BySeed, choose, compare, errors, gradient_ratio, magnitudes, mean, median, spread
from harness.records import paths

FINDING = Path(__file__).resolve().parents[2] / "results" / paths.FINDINGS / "2026-11-23-demo"
"""Evidence that a checkout has and an installed package has not."""
_ERRORS = [said(f"col.{name}") for name in ("net", "depth", "train_error", "test_error")]


def shortcut(records: Records) -> Chapter:
    """What does a shortcut do?"""
    plain, residual = records["none-56"], records["identity-56"]
    values = {
        "parameters": f"{plain[0].status['parameters']:,}",
        "steps": str(SCHEDULE.steps),
        "plain": spread(errors(plain, "train_error").values()),
        "residual": spread(errors(residual, "train_error").values()),
    }
    difference = compare(errors(plain, "train_error"), errors(residual, "train_error"))
    return Chapter(
        "shortcut",
        [
            said("shortcut.idea"),
            choose("shortcut.measured", difference, **values),
            Chart("curves", said("shortcut.chart"), charts.curves(records)),
        ],
    )


def improved(records: Records) -> Chapter:
    """What did residual nets improve, and which problem did they solve?"""
    rows: Rows = []
    for name in ("none", "identity"):
        for depth in (20, 56):
            runs = records[f"{name}-{depth}"]
            rows.append([f"shortcut={name}", depth, *(spread(errors(runs, w).values()) for w in ("train_error", "test_error"))])
    rises = {name: _rise(records, name, "train_error") for name in ("none", "identity")}
    gap = compare(rises["none"], rises["identity"])
    numbers = {"plain": spread(rises["none"].values()), "residual": spread(rises["identity"].values())}
    rise, test_rise = mean(rises["none"].values()), mean(_rise(records, "none", "test_error").values())
    overfitting = "training" if rise > 0.5 * test_rise else "test"
    return Chapter(
        "improved",
        [
            said("improved.problem"),
            Grid(_ERRORS, rows),
            choose("improved.measured", gap, **numbers),
            said(f"improved.{overfitting}", train=f"{rise:.1f}", test=f"{test_rise:.1f}"),
            said("improved.limits", steps=SCHEDULE.steps),
            *_of_finding(),
        ],
    )


def survive(records: Records) -> Chapter:
    """Why do gradients survive: derivation, then measurement."""
    rows: Rows = []
    found = {}
    for end, norm in (("", "norm=batch"), ("-bare", "norm=none")):
        for name in ("none", "identity"):
            for depth in (20, 56):
                runs = records[f"{name}-{depth}{end}"].values()
                ratios = [[gradient_ratio(run, steps) for run in runs] for steps in MOMENTS.values()]
                rows.append([f"shortcut={name}, {norm}", depth, *map(magnitudes, ratios)])
                found[f"{name}{end}"] = ratios[0]
    return Chapter(
        "survive",
        [
            said("survive.plain"),
            said("survive.residual"),
            said("survive.original"),
            said("survive.norm"),
            Grid([said("col.net"), said("col.depth"), said("col.ratio_initial"), said("col.ratio_early")], rows),
            *_survived(found["none-bare"], found["identity-bare"], "-bare"),
            *_survived(found["none"], found["identity"], ""),
            Chart("gradients", said("survive.chart"), charts.gradients(records)),
        ],
    )


def _rise(records: Records, name: str, which: str) -> BySeed:
    """Return by how many points an error is higher at 56 layers than at 20, seed by seed."""
    deep, shallow = (errors(records[f"{name}-{depth}"], which) for depth in (56, 20))
    return {seed: deep[seed] - shallow[seed] for seed in deep}


def _survived(plain: list[float], residual: list[float], end: str) -> list[Said]:
    """Say what becomes of the gradient at 56 layers before training, and in which nets it stays nearer to its size."""
    fates = {"plain_fate": _fate(plain), "residual_fate": _fate(residual)}
    off = abs(math.log10(median(plain))), abs(math.log10(median(residual)))
    nearer = "survive.nearer" if off[1] < off[0] else "survive.farther"
    words = [
        said(f"survive.measured{end}", plain=magnitudes(plain), residual=magnitudes(residual), **fates),
        said(nearer, plain=f"{off[0]:.1f}", residual=f"{off[1]:.1f}"),
    ]
    if end and median(residual) > 10:
        words.append(said("survive.grows"))
    elif not end and median(plain) >= 0.1:
        words.append(said("survive.no_vanishing"))
    return words


def _fate(ratios: list[float]) -> Said:
    """Say whether gradients vanish (below a tenth), explode (above ten) or stay in between."""
    return said("survive.vanishes" if median(ratios) < 0.1 else "survive.explodes" if median(ratios) > 10 else "survive.stays")


def _of_finding() -> list[Part]:
    """Return the errors of the committed demo, with its 110 layers; nothing where there is no checkout around this code."""
    table = FINDING / paths.RUNS_TABLE
    if not table.is_file():
        return []
    runs = pd.read_csv(table, keep_default_na=False)
    rows: Rows = [
        [f"shortcut={run.shortcut}", run.depth, f"{run.train_error:.1f}", f"{run.test_error:.1f}"]
        for run in runs.sort_values(["shortcut", "depth"], ascending=[False, True]).itertuples()
    ]
    steps, seeds = runs["schedule.steps"].iloc[0], runs["seed"].nunique()
    return [said("improved.finding", name=FINDING.name, steps=f"{steps:,}", seeds=seeds), Grid(_ERRORS, rows)]
