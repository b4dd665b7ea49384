"""Chapters on pre-activation, on the best variant at a budget, and on DenseNet beside a residual net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from harness.lab.document import Element, Message, Row, Table, columns, message
from harness.lab.matching import size
from harness.lab.runs import DENSE, Plan, Records
from harness.lab.summaries import INITIAL, compare, error_cells, errors, gradient_ratio, magnitudes, spread

BUDGETS: Mapping[str, Sequence[str]] = {
    "small": ("none-20-narrow", "identity-20-narrow", "preactivation-20-narrow", DENSE["flops"]),
    "middle": ("none-20", "identity-20", "projection-20", "preactivation-20", "bottleneck-29", DENSE["parameters"]),
    "large": ("none-56", "identity-56", "preactivation-56"),
}
"""Nets of about equal FLOPs."""


def version2(records: Records) -> Iterator[Element]:
    """What did version 2, pre-activation, change?"""
    rows: list[Row] = []
    differences = []
    for depth in (20, 56):
        orders = {"original": records[f"identity-{depth}"], "preactivation": records[f"preactivation-{depth}"]}
        for order, runs in orders.items():
            ratio = magnitudes(gradient_ratio(run, INITIAL) for run in runs.values())
            rows.append([f"order={order}", depth, *error_cells(runs), ratio])
        original, preactivation = (errors(runs, "test_error") for runs in orders.values())
        differences.append(compare("version2.measured", preactivation, original, depth=depth))
    yield message("version2.changed")
    yield Table(columns("net", "depth", "train_error", "test_error", "ratio_initial"), rows)
    yield from differences
    yield message("version2.published")


def budgets(records: Records, plan: Plan) -> Iterator[Element]:
    """Which variant is best at which budget?"""
    rows: list[Row] = []
    ranking = []
    best: dict[str, str] = {}
    for budget, names in BUDGETS.items():
        title = message(f"budgets.{budget}")
        test = {name: errors(records[name], "test_error") for name in names}
        means = {name: fmean(by_seed.values()) for name, by_seed in test.items()}
        ranked = sorted(names, key=means.__getitem__)
        for name in ranked:
            train = spread(errors(records[name], "train_error").values())
            rows.append([title, _net(name), *size(plan[name][0]).cells, train, spread(test[name].values(), 2)])
        first, second = ranked[:2]
        ranking.append(compare("budgets.best", test[second], test[first], budget=title, first=_net(first), second=_net(second)))
        best[budget] = f"{means[first]:.2f}"
    yield message("budgets.how")
    yield Table(columns("budget", "net", "parameters", "flops", "train_error", "test_error"), rows)
    yield from ranking
    yield message("budgets.limits", **best)


def dense(records: Records, plan: Plan) -> Iterator[Element]:
    """Is a DenseNet more expressive than a residual net of equal parameters, or of equal FLOPs?"""
    residual = "identity-20-narrow"
    random = {name: errors(records[f"{name}, random labels"], "train_error") for name in (residual, *DENSE.values())}
    rows: list[Row] = [
        [_net(name), *size(plan[name][0]).cells, *error_cells(records[name]), spread(by_seed.values())]
        for name, by_seed in random.items()
    ]
    yield message("dense.idea")
    yield Table(columns("net", "parameters", "flops", "train_error", "test_error", "random_error"), rows)
    for quantity, name in DENSE.items():
        yield compare(f"dense.random_{quantity}", random[name], random[residual])
        yield compare(f"dense.true_{quantity}", *(errors(records[net], "test_error") for net in (name, residual)))
    yield message("dense.limits", steps=plan[f"{residual}, random labels"][0].schedule.steps)


def _net(name: str) -> Message:
    """Return the title of a net of the plan."""
    return message(f"net.{name.replace(', equal ', '-')}")
