"""How large a net is at least, by arithmetic alone, so that one that fits into no memory is refused before it is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from harness.config.network import BlockKind, Family, NetworkConfig
from harness.config.registry import ChoiceError

BYTES = 4
"""Of a float32."""
KEPT = 2
"""Bytes at least of a value that the passes keep: those of a bfloat16."""
TRAINED = 3
"""Numbers for each weight in training: itself, its gradient and its momentum."""
MOST_VALUES = 2**40
"""Values of one layer's output for a batch: 4 TiB in float32; PyTorch counts bytes in 64 bits."""


class Extent(NamedTuple):
    """Weights of the blocks' convolutions, and the values of the blocks' outputs for a batch: all the rest comes on top."""

    weights: int
    values: int
    largest: int


def extent(config: NetworkConfig, side: int, batch: int) -> Extent:
    """Return the least that the net holds for images of `side` pixels."""
    weights = values = largest = 0
    for stage, (count, of_weights, channels) in enumerate(_stages(config)):
        halvings = stage + (2 if config.family == Family.imagenet else 0)
        output = batch * channels * max(1, side // 2**halvings) ** 2
        weights, values, largest = weights + of_weights, values + count * output, max(largest, output)
    return Extent(weights, values, largest)


def _stages(config: NetworkConfig) -> Iterator[tuple[int, int, int]]:
    """Give each stage's blocks, the weights of their convolutions together, and the channels of the last one's output."""
    if config.family == Family.densenet:
        growth, channels = config.growth, cast(int, config.width)
        for count in config.stage_blocks:
            into = count * channels + growth * (count * (count - 1) // 2)  # channels into all the layers together
            yield 1, 4 * growth * into + count * 9 * 4 * growth * growth, channels + count * growth
            channels = (channels + count * growth) // 2
        return
    for number, count in enumerate(config.stage_blocks):
        width = cast(int, config.width) * 2**number
        if config.block is BlockKind.bottleneck:
            yield count, (count * (4 + 9 + 4) - 3) * width**2, 4 * width  # the first block's input is narrower
        else:
            yield count, (count * 2 * 18 - 9) * width**2 // 2, width


def check(config: NetworkConfig, side: int, batch: int) -> Extent:
    """Return the net's extent; raises ChoiceError where a layer's output is beyond what can be counted."""
    found = extent(config, side, batch)
    if found.largest > MOST_VALUES:
        raise ChoiceError(
            f"schedule.batch_size={batch}: {batch:,} images of {side}x{side} make {found.largest:,} values after a single layer "
            f"of width={config.width}; at most {MOST_VALUES:,}"
        )
    return found


def check_memory(config: NetworkConfig, side: int, batch: int, on_cpu: bool, there: int) -> None:
    """Raise ChoiceError where the net cannot be built, or if `on_cpu` trained, in `there` bytes."""
    found = check(config, side, batch)
    needed = BYTES * found.weights * (TRAINED if on_cpu else 1) + (KEPT * found.values if on_cpu else 0)
    if needed > there:
        raise ChoiceError(
            f"depth={config.depth} width={config.width}: {'training' if on_cpu else 'building'} takes at least "
            f"{needed / 2**30:,.1f} GiB of memory, and this machine has {there / 2**30:,.1f} GiB; take a smaller net"
        )
