"""The convolution used throughout the nets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from harness.models.channels_last import subsample
from harness.models.norms import make_norm

BLOCK = 16
"""Channels that oneDNN processes at once in float32: 16 with AVX-512, 8 with AVX2."""


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a workaround for a memory error of oneDNN; otherwise bit-equal.

    In torch 2.14.1 (oneDNN 3.12), on a CPU, the backward pass of a strided 1x1 convolution with fewer than `BLOCK` input
    channels writes past the end of its buffer if images or weights are channels-last: the process crashes or computes wrong
    numbers. Such a convolution reads only every `stride`-th position, so it is computed with stride 1 on those positions.
    Where `nn.Conv2d` survives, values and gradients are bit-equal, except a bias's gradient in bfloat16 with AVX2. The dilation
    has no effect on a 1x1 kernel; it makes torch compute small batches the same way as strided ones.
    """

    def forward(self, input: Tensor) -> Tensor:
        stride = self.stride[0]
        if self.kernel_size != (1, 1) or stride == 1 or self.in_channels >= BLOCK or input.device.type != "cpu":
            return super().forward(input)
        return functional.conv2d(subsample(input, stride), self.weight, self.bias, dilation=2)


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int, norm: str) -> Conv2d:
    """Return a convolution padded to keep the map's side at stride 1, with a bias only if `norm` makes an `nn.Identity`.

    Nets with normalisation have no biases (He et al. 2015, 3.4), whether the norm comes after the convolution or before it.
    """
    bias = isinstance(make_norm(norm, out_channels), nn.Identity)
    return Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
