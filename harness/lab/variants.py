"""Chapters that compare variants: pre-activation, the best at each budget, DenseNet, and bottlenecks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from harness.config.blocks import BlockKind
from harness.config.network import NetworkConfig
from harness.config.run import RunConfig
from harness.lab.document import Element, Message, columns
from harness.lab.matching import size_cells
from harness.lab.runs import DENSE, Plan, Records
from harness.lab.summaries import INITIAL, compare, error_cells, errors, gradient_ratio, magnitudes, spread
from harness.models.blocks import BlockSpec, convolutions
from harness.models.summary import summarize
from harness.reporting.document import Table

BUDGETS: Mapping[str, Sequence[str]] = {
    "small": ("none-20-narrow", "identity-20-narrow", "preactivation-20-narrow", DENSE["flops"]),
    "middle": ("none-20", "identity-20", "projection-20", "preactivation-20", "bottleneck-29", DENSE["parameters"]),
    "large": ("none-56", "identity-56", "preactivation-56"),
}
"""Nets of about equal FLOPs."""
CHANNELS, SIDE = 256, 56
NETS = {kind: RunConfig(depth=56, width=64, block=kind) for kind in (BlockKind.basic, BlockKind.bottleneck)}
"""Nets of equal width and depth, for images of 3x32x32 in ten classes."""


def version2(records: Records) -> Iterator[Element]:
    """What did version 2, pre-activation, change?"""
    rows = []
    differences = []
    for depth in (20, 56):
        orders = {"original": records[f"identity-{depth}"], "preactivation": records[f"preactivation-{depth}"]}
        for order, runs in orders.items():
            ratio = magnitudes(gradient_ratio(run, INITIAL) for run in runs.values())
            rows.append([f"order={order}", str(depth), *error_cells(runs), ratio])
        original, preactivation = (errors(runs, "test_error") for runs in orders.values())
        differences.append(compare("version2.measured", preactivation, original, depth=depth))
    yield Message("version2.changed")
    yield Table(columns("net", "depth", "train_error", "test_error", "ratio_initial"), rows)
    yield from differences
    yield Message("version2.published")


def budgets(records: Records, plan: Plan) -> Iterator[Element]:
    """Which variant is best at which budget?"""
    rows = []
    ranking = []
    best: dict[str, str] = {}
    for budget, names in BUDGETS.items():
        title = Message(f"budgets.{budget}")
        test = {name: errors(records[name], "test_error") for name in names}
        means = {name: fmean(by_seed.values()) for name, by_seed in test.items()}
        ranked = sorted(names, key=means.__getitem__)
        for name in ranked:
            train = spread(errors(records[name], "train_error").values())
            rows.append([title, _net(name), *size_cells(plan[name][0]), train, spread(test[name].values(), 2)])
        first, second = ranked[:2]
        ranking.append(compare("budgets.best", test[second], test[first], budget=title, first=_net(first), second=_net(second)))
        best[budget] = f"{means[first]:.2f}"
    yield Message("budgets.how")
    yield Table(columns("budget", "net", "parameters", "flops", "train_error", "test_error"), rows)
    yield from ranking
    yield Message("budgets.limits", **best)


def dense(records: Records, plan: Plan) -> Iterator[Element]:
    """Is a DenseNet more expressive than a residual net of equal parameters, or of equal FLOPs?"""
    residual = "identity-20-narrow"
    random = {name: errors(records[f"{name}, random labels"], "train_error") for name in (residual, *DENSE.values())}
    rows = [
        [_net(name), *size_cells(plan[name][0]), *error_cells(records[name]), spread(by_seed.values())]
        for name, by_seed in random.items()
    ]
    yield Message("dense.idea")
    yield Table(columns("net", "parameters", "flops", "train_error", "test_error", "random_error"), rows)
    for quantity, name in DENSE.items():
        yield compare(f"dense.random_{quantity}", random[name], random[residual])
        yield compare(f"dense.true_{quantity}", *(errors(records[net], "test_error") for net in (name, residual)))
    yield Message("dense.limits", steps=plan[f"{residual}, random labels"][0].schedule.steps)


def bottleneck(records: Records, plan: Plan) -> Iterator[Element]:
    """What does a bottleneck save? Parameters and FLOPs of a block and of whole nets, and the errors of trained nets."""
    blocks = {kind: block_counts(kind) for kind in NETS}
    summaries = {kind: summarize(net, 3, 32, 10, batch_size=1) for kind, net in NETS.items()}
    nets = {kind: (summary.parameters, summary.flops) for kind, summary in summaries.items()}
    yield Message("bottleneck.idea")
    rows = [
        [Message(f"bottleneck.{what}_{kind.value}"), f"{parameters:,}", f"{flops / 1e9:.3f}"]
        for what, counts in (("block", blocks), ("net", nets))
        for kind, (parameters, flops) in counts.items()
    ]
    yield Table(columns("net", "parameters", "gflops"), rows)
    block, _ = _percentages(blocks)
    parameters, flops = _percentages(nets)
    yield Message("bottleneck.saves", block=f"{block:.1f}", parameters=f"{parameters:.0f}", flops=f"{flops:.0f}")
    trained = ("identity-20", "bottleneck-29")
    rows = [[Message(f"net.{name}"), *size_cells(plan[name][0]), *error_cells(records[name])] for name in trained]
    yield Table(columns("net", "parameters", "flops", "train_error", "test_error"), rows)
    yield compare("bottleneck.measured", *(errors(records[name], "test_error") for name in reversed(trained)))


def block_counts(kind: BlockKind) -> tuple[int, int]:
    """Return the weights of a block's convolutions, 256 channels in and out, and their FLOPs on one 56x56 map.

    A multiply-add counts as two.
    """
    config = NetworkConfig(depth=20 if kind is BlockKind.basic else 29, block=kind)
    convs = convolutions(config, BlockSpec(CHANNELS, CHANNELS, 1))
    weights = sum(conv.in_channels * conv.out_channels * conv.kernel**2 for conv in convs)
    return weights, 2 * weights * SIDE**2


def _percentages(counts: Mapping[BlockKind, tuple[int, int]]) -> list[float]:
    """Return the bottleneck's parameters and FLOPs as percentages of the basic block's."""
    pairs = zip(counts[BlockKind.bottleneck], counts[BlockKind.basic], strict=True)
    return [100 * bottleneck / basic for bottleneck, basic in pairs]


def _net(name: str) -> Message:
    """Return the title of a net of the plan."""
    return Message(f"net.{name.replace(', equal ', '-')}")
