"""What does a bottleneck save? Parameters and FLOPs of blocks and nets, and what the saving buys in a small run."""

from __future__ import annotations

from harness.config.network import BlockKind, NetworkConfig
from harness.config.run import RunConfig
from harness.lab.document import Chapter, Grid, Rows, said
from harness.lab.matching import size
from harness.lab.runs import Plan, Records
from harness.lab.summaries import choose, compare, errors, spread
from harness.models.blocks import Place, convolutions
from harness.models.summary import inspect

CHANNELS, SIDE = 256, 56
NETS = {"basic": {"depth": 56, "width": 64}, "bottleneck": {"depth": 56, "width": 64, "block": BlockKind.bottleneck}}
"""Nets of equal width and depth, for images of 3x32x32 in ten classes."""


def chapter(records: Records, plan: Plan) -> Chapter:
    """Return the counts of a block on the note's shape and of whole nets, and the errors of nets of about equal parameters."""
    of_block = {kind: block_counts(kind) for kind in (BlockKind.basic, BlockKind.bottleneck)}
    basic, narrow = of_block.values()
    rows: Rows = []
    for kind, (weights, flops) in of_block.items():
        rows.append([said(f"bottleneck.block_{kind.value}"), f"{weights:,}", f"{flops / 1e9:.3f}"])
    nets = []
    for name, keys in NETS.items():
        found = inspect(RunConfig(**keys), 3, 32, 10, batch_size=1)  # type: ignore[arg-type]
        nets.append(found)
        rows.append([said(f"bottleneck.net_{name}"), f"{found.parameters:,}", f"{found.flops / 1e9:.3f}"])
    trained: Rows = []
    for name in ("identity-20", "bottleneck-29"):
        counts = size(plan[name][0])
        each = (spread(errors(records[name], which).values()) for which in ("train_error", "test_error"))
        trained.append([said(f"net.{name}"), f"{counts.parameters:,}", f"{counts.flops / 1e6:.2f}", *each])
    difference = compare(*(errors(records[name], "test_error") for name in ("bottleneck-29", "identity-20")))
    shares = {
        "block": f"{100 * narrow[0] / basic[0]:.1f}",
        "parameters": f"{100 * nets[1].parameters / nets[0].parameters:.0f}",
        "flops": f"{100 * nets[1].flops / nets[0].flops:.0f}",
    }
    header = [said("col.net"), said("col.parameters"), said("col.gflops")]
    small = [said(f"col.{name}") for name in ("net", "parameters", "flops", "train_error", "test_error")]
    return Chapter(
        "bottleneck",
        [
            said("bottleneck.idea"),
            Grid(header, rows),
            said("bottleneck.saves", **shares),
            Grid(small, trained),
            choose("bottleneck.measured", difference),
        ],
    )


def block_counts(kind: BlockKind) -> tuple[int, int]:
    """Return the weights of a block's convolutions, 256 channels in and out, and their FLOPs on one 56x56 map, a multiply-add
    counting as two."""
    config = NetworkConfig(depth=20 if kind is BlockKind.basic else 29, block=kind)
    place = Place(CHANNELS, CHANNELS, 1)
    weights = sum(part.in_channels * part.out_channels * part.kernel**2 for part in convolutions(config, place))
    return weights, 2 * weights * SIDE**2
