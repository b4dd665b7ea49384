"""Lower bounds of a network's size, so that a network too large for the memory is refused before it is built."""

from __future__ import annotations

from typing import NamedTuple

from harness.config.network import NetworkConfig
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
    for stage in config.rules.sizes(config):
        output = batch * stage.channels * max(1, side // 2**stage.halvings) ** 2
        weights, values, largest = weights + stage.weights, values + stage.outputs * output, max(largest, output)
    return Extent(weights, values, largest)


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
