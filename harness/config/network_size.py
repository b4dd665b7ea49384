"""Lower bounds of a network's size, so that a network too large for the memory is refused before it is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

from harness.config.network import BlockKind, Family, NetworkConfig
from harness.config.registry import ChoiceError

BYTES = 4
"""Bytes of a float32."""
KEPT = 2
"""Minimum bytes of a stored activation: those of a bfloat16."""
TRAINED = 3
"""Numbers stored for each weight in training: weight, gradient and momentum."""
MOST_VALUES = 2**40
"""Maximum values of one layer's output for a batch: 4 TiB in float32. PyTorch counts bytes in 64 bits."""


class Extent(NamedTuple):
    """Weights of the blocks' convolutions, values of all blocks' outputs for a batch, and values of the largest output."""

    weights: int
    values: int
    largest: int


def extent(config: NetworkConfig, side: int, batch: int) -> Extent:
    """Return a lower bound of the network's size for images of `side` pixels."""
    weights = values = largest = 0
    for stage, (count, stage_weights, channels) in enumerate(_stages(config)):
        halvings = stage + (2 if config.family == Family.imagenet else 0)
        output = batch * channels * max(1, side // 2**halvings) ** 2
        weights, values, largest = weights + stage_weights, values + count * output, max(largest, output)
    return Extent(weights, values, largest)


def _stages(config: NetworkConfig) -> Iterator[tuple[int, int, int]]:
    """Yield the number of blocks of each stage, the weights of all their convolutions, and the channels of its output."""
    if config.family == Family.densenet:
        growth, channels = config.growth, cast(int, config.width)
        for count in config.stage_blocks:
            into = count * channels + growth * (count * (count - 1) // 2)  # input channels of all layers together
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
    """Return the network's extent; raises ChoiceError if a layer's output has more than MOST_VALUES values."""
    least = extent(config, side, batch)
    if least.largest > MOST_VALUES:
        raise ChoiceError(
            f"schedule.batch_size={batch}: {batch:,} images of {side}x{side} make {least.largest:,} values after a single layer "
            f"of width={config.width}; at most {MOST_VALUES:,}"
        )
    return least


def check_memory(config: NetworkConfig, side: int, batch: int, on_cpu: bool, available: int) -> None:
    """Raise ChoiceError if the network cannot be built, or with `on_cpu` trained, in `available` bytes."""
    least = check(config, side, batch)
    needed = BYTES * least.weights * (TRAINED if on_cpu else 1) + (KEPT * least.values if on_cpu else 0)
    if needed > available:
        raise ChoiceError(
            f"depth={config.depth} width={config.width}: {'training' if on_cpu else 'building'} takes at least "
            f"{needed / 2**30:,.1f} GiB of memory, and this machine has {available / 2**30:,.1f} GiB; take a smaller net"
        )
