"""The convolution that every part of a net is made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from harness.models.channels_last import every
from harness.models.norms import make_norm, needs_bias

BLOCK = 16
"""Channels that oneDNN handles at once in float32: 16 with AVX-512, 8 with AVX2."""


class Conv2d(nn.Conv2d):
    """A convolution that works around a memory error of oneDNN, and is otherwise `nn.Conv2d` to the bit.

    In torch 2.14.1 (oneDNN 3.12) the backward pass on a CPU of a strided 1x1 convolution with fewer than `BLOCK` input channels
    writes past the end of its buffer where images or weights are in channels_last layout: the process dies, or goes on with wrong
    numbers. Such a convolution reads every `stride`-th position alone, so it is computed at those, with stride 1; where the other
    one survives, values and gradients are the same bits, but for a bias's gradient in bfloat16 with AVX2. (A dilation changes
    nothing of a 1x1 kernel. It keeps torch from computing small batches in another way than strided ones.)
    """

    def forward(self, input: Tensor) -> Tensor:
        stride = self.stride[0]
        if self.kernel_size != (1, 1) or stride == 1 or self.in_channels >= BLOCK or input.device.type != "cpu":
            return super().forward(input)
        return functional.conv2d(every(input, stride), self.weight, self.bias, dilation=2)


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int, norm: str) -> Conv2d:
    """Return a convolution padded to keep the map's side at stride 1; with a bias only in nets without `norm`.

    Nets with normalisation have no biases (He et al. 2015, 3.4), be the norm after the convolution or before it.
    """
    bias = needs_bias(make_norm(norm, out_channels))
    return Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
