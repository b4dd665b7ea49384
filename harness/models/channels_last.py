"""Operations on feature maps in channels-last layout whose gradient has that layout, too.

PyTorch gives the gradient of a slice, and of a mean over positions, in the order of the dimensions. In (B, C, H, W) that is not
the layout of the maps, and what meets such a gradient next takes several times as long. So the dimensions are put in
the order of memory first. Values, forward and backward, are the same bits.
"""

from __future__ import annotations

from torch import Tensor


def every(x: Tensor, stride: int) -> Tensor:
    """Return every `stride`-th position: [B, C, H, W] to [B, C, H/stride, W/stride], rounded up."""
    return x.permute(0, 2, 3, 1)[:, ::stride, ::stride].permute(0, 3, 1, 2)


def global_average(x: Tensor) -> Tensor:
    """Return the mean over positions: [B, C, H, W] to [B, C]."""
    return x.permute(0, 2, 3, 1).mean(dim=(1, 2))
