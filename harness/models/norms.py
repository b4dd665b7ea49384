"""Normalisation after a convolution."""

from __future__ import annotations

from torch import nn

from harness.config.registry import NORM


@NORM.register("batch")
def batch(channels: int) -> nn.Module:
    """Batch normalisation over batch and positions, per channel, momentum 0.1, eps 1e-5 (Ioffe and Szegedy 2015)."""
    return nn.BatchNorm2d(channels)


@NORM.register("none")
def none(channels: int) -> nn.Module:
    """No normalisation."""
    return nn.Identity()


def make_norm(name: str, channels: int) -> nn.Module:
    """Return the norm `name` for `channels`."""
    norm: nn.Module = NORM[name](channels)
    return norm
