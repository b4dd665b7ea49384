"""Subsampling and pooling of channels-last feature maps, with gradients that are channels-last too.

PyTorch lays out the gradient of a slice, and of a mean over positions, in the order of the dimensions. For (B, C, H, W) that is
not channels-last, and the next operation on such a gradient takes several times as long. These functions therefore permute the
dimensions into memory order first. Values are bit-equal, forward and backward.
"""

from __future__ import annotations

from torch import Tensor


def subsample(x: Tensor, stride: int) -> Tensor:
    """Return every `stride`-th position: [B, C, H, W] to [B, C, H/stride, W/stride], rounded up."""
    return x.permute(0, 2, 3, 1)[:, ::stride, ::stride].permute(0, 3, 1, 2)


def global_average(x: Tensor) -> Tensor:
    """Return the mean over positions: [B, C, H, W] to [B, C]."""
    return x.permute(0, 2, 3, 1).mean(dim=(1, 2))
