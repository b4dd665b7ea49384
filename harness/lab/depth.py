"""What shortcuts do, what residual nets improved, and why their gradients survive, from the lab's runs."""

from __future__ import annotations

from harness.lab import charts
from harness.lab.contents import Chapter, Chart, Grid, Rows, Said, said
from harness.lab.measure import MOMENTS, BySeed, choose, compare, errors, gradient_ratio, magnitudes, mean, median, spread
from harness.lab.runs import SCHEDULE, Records


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
            Grid([said("col.net"), said("col.depth"), said("col.train_error"), said("col.test_error")], rows),
            choose("improved.measured", gap, **numbers),
            said(f"improved.{overfitting}", train=f"{rise:.1f}", test=f"{test_rise:.1f}"),
            said("improved.limits", steps=SCHEDULE.steps),
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
            *(_survived(found[f"none{end}"], found[f"identity{end}"], end) for end in ("-bare", "")),
            Chart("gradients", said("survive.chart"), charts.gradients(records)),
        ],
    )


def _rise(records: Records, name: str, which: str) -> BySeed:
    """Return by how many points an error is higher at 56 layers than at 20, seed by seed."""
    deep, shallow = (errors(records[f"{name}-{depth}"], which) for depth in (56, 20))
    return {seed: deep[seed] - shallow[seed] for seed in deep}


def _survived(plain: list[float], residual: list[float], end: str) -> Said:
    """Say what becomes of the gradient at 56 layers before training: it vanishes below 0.1, and explodes above 10."""
    size = median(plain)
    fate = "vanishes" if size < 0.1 else "explodes" if size > 10 else "stays"
    kept = "stays" if 0.1 <= median(residual) <= 10 else "leaves"
    numbers = {"plain": magnitudes(plain), "residual": magnitudes(residual)}
    fates = {"fate": said(f"survive.{fate}"), "kept": said(f"survive.residual_{kept}")}
    return said(f"survive.measured{end}", **numbers, **fates)
