"""The nets for CIFAR of He et al. 2015, section 4.2.

| part | output | layers |
|---|---|---|
| stem | 32x32, 16 channels | one 3x3 convolution |
| stage 1 | 32x32, 16 | n blocks of two 3x3 convolutions |
| stage 2 | 16x16, 32 | n blocks, the first with stride 2 |
| stage 3 | 8x8, 64 | n blocks, the first with stride 2 |
| head | 10 | global average pooling, linear layer |

Depth 6n+2. Parameters with `none` or `identity` and batch normalisation: 269,722 at depth 20, 853,018 at 56,
1,727,962 at 110; `projection` adds 2,752. Smaller images work the same way: each stage halves them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config import RunConfig
from harness.models.initialisation import initialise
from harness.models.norms import make_norm, needs_bias
from harness.models.shortcuts import make_shortcut
from harness.streams import stream_seed


def convolution(in_channels: int, out_channels: int, stride: int, norm: nn.Module) -> nn.Conv2d:
    """Return a 3x3 convolution with padding 1, and with a bias only where `norm` after it does nothing."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=needs_bias(norm))


class Stem(nn.Module):
    """The first convolution, norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: str) -> None:
        super().__init__()
        after = make_norm(norm, out_channels)
        self.conv = convolution(in_channels, out_channels, 1, after)
        self.norm = after

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the addition comes after the second norm and before the last ReLU (Fig. 2).

    Plain and residual blocks differ in `shortcut` alone.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str, norm: str) -> None:
        super().__init__()
        norm1, norm2 = make_norm(norm, out_channels), make_norm(norm, out_channels)
        self.conv1 = convolution(in_channels, out_channels, stride, norm1)
        self.norm1 = norm1
        self.conv2 = convolution(out_channels, out_channels, 1, norm2)
        self.norm2 = norm2
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        branch = functional.relu(self.norm1(self.conv1(x)))
        branch = self.norm2(self.conv2(branch))
        return functional.relu(self.shortcut(x, branch))


class Network(nn.Module):
    """A stem, stages of blocks, global average pooling and a linear layer: [B, C, H, W] to logits [B, classes]."""

    def __init__(self, depth: int, width: int, shortcut: str, norm: str, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = Stem(channels, width, norm)
        stages, inputs = [], width
        for number in range(3):
            outputs = width * 2**number
            strides = [1 if number == 0 else 2] + [1] * ((depth - 2) // 6 - 1)
            blocks = []
            for stride in strides:
                blocks.append(BasicBlock(inputs, outputs, stride, shortcut, norm))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def build(config: RunConfig, channels: int, classes: int) -> Network:
    """Return the initialised net of `config` on the CPU, in channels-last layout; no global random state changes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "constructors"))
        model = Network(config.depth, config.width, config.shortcut, config.norm, channels, classes)
    initialise(model, config.init, config.seed)
    return model.to(memory_format=torch.channels_last)
