"""The convolution that every part of a net is made of."""

from __future__ import annotations

from torch import nn

from harness.models.norms import make_norm, needs_bias


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int, norm: str) -> nn.Conv2d:
    """Return a convolution padded to keep the map's side at stride 1; with a bias only in nets without `norm`.

    Nets with normalisation have no biases (He et al. 2015, 3.4), be the norm after the convolution or before it.
    """
    bias = needs_bias(make_norm(norm, out_channels))
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
