"""Version 2, the best variant at a budget, and DenseNet beside a residual net, from the lab's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.lab.document import Chapter, Grid, Part, Rows, Said, said
from harness.lab.matching import Size, size
from harness.lab.runs import DENSE, Plan, Records
from harness.lab.summaries import INITIAL, choose, compare, errors, gradient_ratio, magnitudes, mean, spread

BUDGETS: Mapping[str, Sequence[str]] = {
    "small": ("none-20-narrow", "identity-20-narrow", "preactivation-20-narrow", DENSE["flops"]),
    "middle": ("none-20", "identity-20", "projection-20", "preactivation-20", "bottleneck-29", DENSE["parameters"]),
    "large": ("none-56", "identity-56", "preactivation-56"),
}
"""Nets of about equal FLOPs."""


def version2(records: Records) -> Chapter:
    """What did version 2, pre-activation, change?"""
    rows: Rows = []
    for depth in (20, 56):
        for name, order in (("identity", "original"), ("preactivation", "preactivation")):
            runs = records[f"{name}-{depth}"]
            ratio = magnitudes(gradient_ratio(run, INITIAL) for run in runs.values())
            rows.append(
                [f"order={order}", depth, *(spread(errors(runs, w).values()) for w in ("train_error", "test_error")), ratio]
            )
    measured = []
    for depth in (20, 56):
        both = [errors(records[f"{name}-{depth}"], "test_error") for name in ("preactivation", "identity")]
        measured.append(choose("version2.measured", compare(*both), depth=depth))
    header = [said(f"col.{name}") for name in ("net", "depth", "train_error", "test_error", "ratio_initial")]
    return Chapter("version2", [said("version2.changed"), Grid(header, rows), *measured, said("version2.published")])


def budgets(records: Records, plan: Plan) -> Chapter:
    """Which variant is best at which budget?"""
    sizes = {name: size(plan[name][0]) for names in BUDGETS.values() for name in names}
    rows: Rows = []
    ranking: list[Said] = []
    best: dict[str, str] = {}
    for budget, names in BUDGETS.items():
        tests = {name: errors(records[name], "test_error") for name in names}
        ranked = sorted(names, key=lambda name: mean(tests[name].values()))
        for name in ranked:
            trained = spread(errors(records[name], "train_error").values())
            rows.append(
                [said(f"budgets.{budget}"), _called(name), *_counts(sizes[name]), trained, spread(tests[name].values(), 2)]
            )
        first, second = ranked[:2]
        comparison = compare(tests[second], tests[first])
        best[budget] = f"{mean(tests[first].values()):.2f}"
        values = {"budget": said(f"budgets.{budget}"), "first": _called(first), "second": _called(second)}
        ranking.append(choose("budgets.best", comparison, **values))
    header = [said(f"col.{name}") for name in ("budget", "net", "parameters", "flops", "train_error", "test_error")]
    return Chapter("budgets", [said("budgets.how"), Grid(header, rows), *ranking, said("budgets.limits", **best)])


def dense(records: Records, plan: Plan) -> Chapter:
    """Is a DenseNet more expressive than a residual net of equal parameters, or of equal FLOPs?"""
    names = ("identity-20-narrow", *DENSE.values())
    rows: Rows = []
    for name in names:
        true, random = records[name], records[f"{name}, random labels"]
        of_true = (spread(errors(true, which).values()) for which in ("train_error", "test_error"))
        counts = _counts(size(plan[name][0]))
        rows.append([_called(name), *counts, *of_true, spread(errors(random, "train_error").values())])
    header = [said(f"col.{n}") for n in ("net", "parameters", "flops", "train_error", "test_error", "random_error")]
    parts: list[Part] = [said("dense.idea"), Grid(header, rows)]
    for what, name in DENSE.items():
        on_random = [errors(records[f"{one}, random labels"], "train_error") for one in (name, names[0])]
        on_true = [errors(records[one], "test_error") for one in (name, names[0])]
        parts += [choose(f"dense.random_{what}", compare(*on_random)), choose(f"dense.true_{what}", compare(*on_true))]
    return Chapter("dense", [*parts, said("dense.limits", steps=plan[f"{names[0]}, random labels"][0].schedule.steps)])


def _counts(of: Size) -> tuple[str, str]:
    return f"{of.parameters:,}", f"{of.flops / 1e6:.2f}"


def _called(name: str) -> Said:
    """Return a net's name in words."""
    return said(f"net.{name.replace(', equal ', '-').replace('.', '')}")
