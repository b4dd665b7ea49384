"""The plain and residual nets of He et al. 2015: family cifar (section 4.2) and family imagenet (Table 1).

| part | cifar, on 32x32 images | imagenet, on 224x224 images |
|---|---|---|
| stem | 3x3 convolution, 16 channels | 7x7 convolution, stride 2, 64 channels, 112x112; 3x3 max pooling, stride 2, 56x56 |
| stage 1 | 32x32, 16 channels | 56x56, 64 |
| stage 2 | 16x16, 32 | 28x28, 128 |
| stage 3 | 8x8, 64 | 14x14, 256 |
| stage 4 | | 7x7, 512 |
| head | global average pooling, linear layer | the same |

Bottleneck blocks have four times these output channels. From stage 2 on, the first block of a stage has stride 2. Plain nets
and nets with option A have the same number of parameters: in family cifar 269,722 at depth 20, 853,018 at 56, 1,727,962 at 110.
Images of other sizes work the same way.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from harness.config.blocks import BlockKind
from harness.config.network import Family, NetworkConfig
from harness.models.activation_checkpointing import Staged
from harness.models.blocks import EXPANSION, Block, BlockSpec, survival_probabilities
from harness.models.channels_last import global_average
from harness.models.convolutions import convolution
from harness.models.norms import make_norm


class ResidualNet(Staged):
    """A stem, stages of blocks, global average pooling and a linear layer: [B, C, H, W] to logits [B, classes]."""

    def __init__(self, config: NetworkConfig, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = make_stem(config, channels)
        specs = block_specs(config)
        self.stages = nn.ModuleList(nn.Sequential(*(Block(config, spec) for spec in stage)) for stage in specs)
        self.linear = nn.Linear(specs[-1][-1].out_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(global_average(self.through_stages(self.stem(x))))
        return logits


def make_stem(config: NetworkConfig, in_channels: int) -> nn.Sequential:
    """Return the first convolution, norm and ReLU; in family imagenet max pooling follows."""
    width, large = int(config.width), config.family == Family.imagenet
    conv = convolution(in_channels, width, 7 if large else 3, 2 if large else 1, config.norm)
    stem = nn.Sequential(OrderedDict(conv=conv, norm=make_norm(config.norm, width), relu=nn.ReLU()))
    if large:
        stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
    return stem


def block_specs(config: NetworkConfig) -> list[list[BlockSpec]]:
    """Return the blocks of each stage."""
    counts, channels = config.stage_blocks, int(config.width)
    expansion, survival = EXPANSION[BlockKind(config.block)], iter(survival_probabilities(config.survival, sum(counts)))
    stages: list[list[BlockSpec]] = []
    for stage, count in enumerate(counts):
        out, specs = int(config.width) * 2**stage * expansion, []
        for position in range(count):
            stride = 2 if stage > 0 and position == 0 else 1
            first, last = stage == position == 0, (stage, position) == (len(counts) - 1, count - 1)
            specs.append(BlockSpec(channels, out, stride, first, last, next(survival)))
            channels = out
        stages.append(specs)
    return stages
