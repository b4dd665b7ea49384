"""What does a bottleneck save? Parameters and FLOPs of blocks and nets, and the errors of nets of about equal size."""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.network import BlockKind, NetworkConfig
from harness.config.run import RunConfig
from harness.lab.document import Element, Row, Table, columns, message
from harness.lab.matching import size
from harness.lab.runs import Plan, Records
from harness.lab.summaries import compare, error_cells, errors
from harness.models.blocks import BlockSpec, convolutions
from harness.models.summary import summarize

CHANNELS, SIDE = 256, 56
NETS = {kind: RunConfig(depth=56, width=64, block=kind) for kind in (BlockKind.basic, BlockKind.bottleneck)}
"""Nets of equal width and depth, for images of 3x32x32 in ten classes."""


def chapter(records: Records, plan: Plan) -> Iterator[Element]:
    """Count a block of the note's shape and whole nets, and compare the errors of trained nets."""
    blocks = {kind: block_counts(kind) for kind in NETS}
    nets = {kind: summarize(net, 3, 32, 10, batch_size=1) for kind, net in NETS.items()}
    rows = [_counted(f"block_{kind.value}", weights, flops) for kind, (weights, flops) in blocks.items()]
    rows += [_counted(f"net_{kind.value}", net.parameters, net.flops) for kind, net in nets.items()]
    (basic_weights, _), (weights, _) = blocks.values()
    basic, bottleneck = nets.values()
    yield message("bottleneck.idea")
    yield Table(columns("net", "parameters", "gflops"), rows)
    yield message(
        "bottleneck.saves",
        block=f"{100 * weights / basic_weights:.1f}",
        parameters=f"{100 * bottleneck.parameters / basic.parameters:.0f}",
        flops=f"{100 * bottleneck.flops / basic.flops:.0f}",
    )
    trained = ("identity-20", "bottleneck-29")
    rows = [[message(f"net.{name}"), *size(plan[name][0]).cells, *error_cells(records[name])] for name in trained]
    yield Table(columns("net", "parameters", "flops", "train_error", "test_error"), rows)
    test = {name: errors(records[name], "test_error") for name in trained}
    yield compare("bottleneck.measured", test["bottleneck-29"], test["identity-20"])


def block_counts(kind: BlockKind) -> tuple[int, int]:
    """Return the weights of a block's convolutions, 256 channels in and out, and their FLOPs on one 56x56 map.

    A multiply-add counts as two.
    """
    config = NetworkConfig(depth=20 if kind is BlockKind.basic else 29, block=kind)
    convs = convolutions(config, BlockSpec(CHANNELS, CHANNELS, 1))
    weights = sum(conv.in_channels * conv.out_channels * conv.kernel**2 for conv in convs)
    return weights, 2 * weights * SIDE**2


def _counted(key: str, parameters: int, flops: int) -> Row:
    return [message(f"bottleneck.{key}"), f"{parameters:,}", f"{flops / 1e9:.3f}"]
