"""The blocks of residual and plain nets, in five orders of activation.

| order (He et al. 2016, Fig. 4) | residual branch of a basic block | after the addition |
|---|---|---|
| original (a) | conv BN ReLU conv BN | ReLU |
| bn_after_addition (b) | conv BN ReLU conv | BN ReLU |
| relu_before_addition (c) | conv BN ReLU conv BN ReLU | |
| relu_only_preactivation (d) | ReLU conv BN ReLU conv BN | |
| preactivation (e) | BN ReLU conv BN ReLU conv | |

In (d) and (e) the stem has already activated the input of the first block, which begins with its convolution; the ReLU (d) or
BN ReLU (e) after the last block's addition belongs to that block (ibid., 4.1 and Fig. 5). There, a shortcut with a convolution
starts from the activated input, and in (e) it has no norm, as in the authors' code (resnet-1k-layers). Plain blocks compute the
same function in every order. Basic and bottleneck blocks differ only in their convolutions, plain and residual blocks only in
`shortcut`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.blocks import BlockKind, BottleneckStride, Order
from harness.config.network import NetworkConfig
from harness.models.convolutions import convolution
from harness.models.norms import make_norm
from harness.models.shortcuts import make_shortcut

EXPANSION = {BlockKind.basic: 1, BlockKind.bottleneck: 4}
"""Output channels of a block divided by those of its inner convolutions (He et al. 2015, Fig. 5)."""
PREACTIVATED = (Order.relu_only_preactivation, Order.preactivation)


class BlockSpec(NamedTuple):
    """A block's shape, whether it is the first or last of its net, and its survival probability during training."""

    in_channels: int
    out_channels: int
    stride: int
    first: bool = False
    last: bool = False
    survival: float = 1.0


class Convolution(NamedTuple):
    """The shape of a convolution; `kernel` is its side."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int


def convolutions(config: NetworkConfig, spec: BlockSpec) -> Sequence[Convolution]:
    """Return the convolutions of a block (He et al. 2015, Fig. 5)."""
    into, out, stride = spec[:3]
    if config.block is BlockKind.basic:
        return Convolution(into, out, 3, stride), Convolution(out, out, 3, 1)
    inner = out // EXPANSION[BlockKind.bottleneck]
    first, middle = (stride, 1) if config.bottleneck_stride is BottleneckStride.first else (1, stride)
    return Convolution(into, inner, 1, first), Convolution(inner, inner, 3, middle), Convolution(inner, out, 1, 1)


class Block(nn.Module):
    """Convolutions `conv1`, `conv2`, ..., each followed by `norm1`, `norm2`, ..., joined to the input by `shortcut`.

    [B, C_in, H, W] to [B, C_out, H/stride, W/stride].
    """

    def __init__(self, config: NetworkConfig, spec: BlockSpec) -> None:
        super().__init__()
        self.order, self.survival = config.order, spec.survival
        full_preactivation, preactivated = self.order is Order.preactivation, self.order in PREACTIVATED
        norm_after_addition = self.order is Order.bn_after_addition
        self.activates_input = preactivated and not spec.first
        self.activates_output = spec.last if preactivated else self.order is not Order.relu_before_addition

        def norm(present: bool, channels: int) -> nn.Module:
            return make_norm(config.norm if present else "none", channels)

        self.before = norm(full_preactivation and self.activates_input, spec.in_channels)
        branch = convolutions(config, spec)
        self.depth = len(branch)
        for number, conv in enumerate(branch, 1):
            setattr(self, f"conv{number}", convolution(*conv, config.norm))
            has_norm = number < self.depth or not (full_preactivation or norm_after_addition)
            setattr(self, f"norm{number}", norm(has_norm, conv.out_channels))
        self.shortcut = make_shortcut(config, spec.in_channels, spec.out_channels, spec.stride)
        if full_preactivation and self.shortcut.projects:
            self.shortcut.norm = nn.Identity()
        self.after = norm((full_preactivation and spec.last) or norm_after_addition, spec.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        start = functional.relu(self.before(x)) if self.activates_input else x
        branch = start
        for number in range(1, self.depth + 1):
            branch = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(branch))
            if number < self.depth or self.order is Order.relu_before_addition:
                branch = functional.relu(branch)
        if self.survival < 1:
            branch = branch * self._branch_weight(branch.device)
        joined = self.after(self.shortcut(start if self.shortcut.projects else x, branch))
        return functional.relu(joined) if self.activates_output else joined

    def _branch_weight(self, device: torch.device) -> Tensor | float:
        """Return 1 or 0, drawn once for the batch, in training mode; else the expectation (Huang et al. 2016, eq. 2 and 5)."""
        if not self.training:
            return self.survival
        return torch.bernoulli(torch.full((), self.survival, device=device))


def survival_probabilities(last: float, blocks: int) -> list[float]:
    """Return the survival probability of each block, falling linearly from 1 at the stem to `last` (Huang et al. 2016, eq. 4)."""
    return [1 - number / blocks * (1 - last) for number in range(1, blocks + 1)]
