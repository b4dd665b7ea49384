"""DenseNet-BC on CIFAR (Huang et al. 2017, arXiv:1608.06993, sections 3 and 4), for comparison with residual nets.

| part | on 32x32 images, growth k |
|---|---|
| stem | 3x3 convolution, 2k channels |
| stages 1 to 3 | n dense layers each: BN ReLU 1x1 conv to 4k channels, BN ReLU 3x3 conv to k, concatenated with the input |
| between them | BN ReLU 1x1 conv to half the channels, 2x2 average pooling with stride 2 |
| head | BN ReLU, global average pooling, linear layer |

Depth 6n+4. 769,162 parameters at depth 100, growth 12, 10 classes (0.8M in Table 2 of the paper).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import NetworkConfig
from harness.models.activation_checkpointing import Staged
from harness.models.channels_last import global_average
from harness.models.convolutions import convolution
from harness.models.norms import make_norm
from harness.models.shortcuts import make_shortcut

BOTTLENECK = 4
"""Output channels of the 1x1 convolution divided by the growth (section 3, "Bottleneck layers")."""
COMPRESSION = 2
"""Input channels of a transition divided by its output channels (section 3, "Compression": theta = 0.5)."""


class DenseLayer(nn.Module):
    """[B, C, H, W] to [B, C + growth, H, W]."""

    def __init__(self, config: NetworkConfig, in_channels: int) -> None:
        super().__init__()
        inner = BOTTLENECK * config.growth
        self.before = make_norm(config.norm, in_channels)
        self.conv1 = convolution(in_channels, inner, 1, 1, config.norm)
        self.norm1 = make_norm(config.norm, inner)
        self.conv2 = convolution(inner, config.growth, 3, 1, config.norm)
        self.shortcut = make_shortcut(config, in_channels, config.growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv1(functional.relu(self.before(x)))
        joined: Tensor = self.shortcut(x, self.conv2(functional.relu(self.norm1(branch))))
        return joined


def transition(config: NetworkConfig, in_channels: int) -> nn.Sequential:
    """Return a transition: [B, C, H, W] to [B, C/2, H/2, W/2]."""
    conv = convolution(in_channels, in_channels // COMPRESSION, 1, 1, config.norm)
    before = make_norm(config.norm, in_channels)
    return nn.Sequential(OrderedDict(before=before, relu=nn.ReLU(), conv1=conv, pool=nn.AvgPool2d(2)))


class DenseNet(Staged):
    """[B, C, H, W] to logits [B, classes]; a transition is the first block of the stage after it."""

    def __init__(self, config: NetworkConfig, channels: int, classes: int) -> None:
        super().__init__()
        stages, width = [], int(config.width)
        self.stem = nn.Sequential(OrderedDict(conv=convolution(channels, width, 3, 1, config.norm)))
        for number, count in enumerate(config.stage_blocks):
            blocks: list[nn.Module] = []
            if number:
                blocks.append(transition(config, width))
                width //= COMPRESSION
            for _ in range(count):
                blocks.append(DenseLayer(config, width))
                width += config.growth
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.after = make_norm(config.norm, width)
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.after(self.through_stages(self.stem(x))))
        logits: Tensor = self.linear(global_average(x))
        return logits
