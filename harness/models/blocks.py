"""The blocks of residual and plain nets, in five orders of activation.

| order (He et al. 2016, Fig. 4) | residual branch of a basic block | after the addition |
|---|---|---|
| original (a) | conv BN ReLU conv BN | ReLU |
| bn_after_addition (b) | conv BN ReLU conv | BN ReLU |
| relu_before_addition (c) | conv BN ReLU conv BN ReLU | |
| relu_only_preactivation (d) | ReLU conv BN ReLU conv BN | |
| preactivation (e) | BN ReLU conv BN ReLU conv | |

In (d) and (e) the first block finds its input activated by the stem and begins with its convolution, and what follows the
last block's addition (ReLU, BN ReLU) is its own (ibid., 4.1 and Fig. 5). A shortcut with a convolution on it starts, in
(d) and (e), from the activated input, and in (e) has no norm, as in the authors' code (resnet-1k-layers). Plain blocks
compute the same function in every order. Basic and bottleneck differ in their convolutions, plain and residual in
`shortcut` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import BlockKind, BottleneckStride, NetworkConfig, Order
from harness.models.convolutions import convolution
from harness.models.norms import make_norm
from harness.models.shortcuts import make_shortcut

EXPANSION = {BlockKind.basic: 1, BlockKind.bottleneck: 4}
"""How many times the channels of its inner convolutions a block puts out (He et al. 2015, Fig. 5)."""
LEADS = (Order.relu_only_preactivation, Order.preactivation)


class Place(NamedTuple):
    """Where a block stands: channels in and out, stride, first or last of the net, and its probability of survival."""

    in_channels: int
    out_channels: int
    stride: int
    first: bool = False
    last: bool = False
    survival: float = 1.0


class Convolution(NamedTuple):
    in_channels: int
    out_channels: int
    kernel: int
    stride: int


def convolutions(config: NetworkConfig, place: Place) -> Sequence[Convolution]:
    """Return the convolutions of a block (He et al. 2015, Fig. 5)."""
    into, out, stride = place.in_channels, place.out_channels, place.stride
    if config.block is BlockKind.basic:
        return Convolution(into, out, 3, stride), Convolution(out, out, 3, 1)
    inner = out // EXPANSION[BlockKind.bottleneck]
    first, middle = (stride, 1) if config.bottleneck_stride is BottleneckStride.first else (1, stride)
    return Convolution(into, inner, 1, first), Convolution(inner, inner, 3, middle), Convolution(inner, out, 1, 1)


class Block(nn.Module):
    """Convolutions `conv1`, `conv2`, ..., each with what follows it as `norm1`, ..., joined by `shortcut`.

    [B, C_in, H, W] to [B, C_out, H/stride, W/stride].
    """

    def __init__(self, config: NetworkConfig, place: Place) -> None:
        super().__init__()
        self.order, self.survival = config.order, place.survival
        full = self.order is Order.preactivation
        parts = convolutions(config, place)
        self.count = len(parts)
        self.leading = self.order in LEADS and not place.first
        self.ending = self.order in (Order.original, Order.bn_after_addition) or (self.order in LEADS and place.last)

        def norm(wanted: bool, channels: int) -> nn.Module:
            return make_norm(config.norm if wanted else "none", channels)

        self.before = norm(full and self.leading, place.in_channels)
        for number, part in enumerate(parts, 1):
            setattr(self, f"conv{number}", convolution(*part, config.norm))
            last_of_branch = number == self.count
            bare = last_of_branch and (full or self.order is Order.bn_after_addition)
            setattr(self, f"norm{number}", norm(not bare, part.out_channels))
        self.shortcut = make_shortcut(config, place.in_channels, place.out_channels, place.stride)
        if full and self.shortcut.projects:
            self.shortcut.norm = nn.Identity()
        self.after = norm((full and place.last) or self.order is Order.bn_after_addition, place.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        start = functional.relu(self.before(x)) if self.leading else x
        branch = start
        for number in range(1, self.count + 1):
            branch = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(branch))
            if number < self.count or self.order is Order.relu_before_addition:
                branch = functional.relu(branch)
        if self.survival < 1:
            branch = branch * self._survives(branch.device)
        joined = self.after(self.shortcut(start if self.shortcut.projects else x, branch))
        return functional.relu(joined) if self.ending else joined

    def _survives(self, device: torch.device) -> Tensor | float:
        """Return 1 or 0, drawn for the batch, while training; the expectation otherwise (Huang et al. 2016, eq. 2 and 5)."""
        if not self.training:
            return self.survival
        return torch.bernoulli(torch.full((), self.survival, device=device))


def survivals(last: float, blocks: int) -> list[float]:
    """Return each block's probability of survival, falling linearly from 1 at the stem to `last` (Huang et al. 2016, eq. 4)."""
    return [1 - number / blocks * (1 - last) for number in range(1, blocks + 1)]
