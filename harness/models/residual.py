"""The plain and residual nets of He et al. 2015: family cifar (section 4.2) and family imagenet (Table 1).

| part | cifar, on 32x32 images | imagenet, on 224x224 images |
|---|---|---|
| stem | 3x3 convolution, 16 channels | 7x7 convolution with stride 2, 64 channels, 112x112; 3x3 maximum with stride 2, 56x56 |
| stage 1 | 32x32, 16 channels | 56x56, 64 |
| stage 2 | 16x16, 32 | 28x28, 128 |
| stage 3 | 8x8, 64 | 14x14, 256 |
| stage 4 | | 7x7, 512 |
| head | global average, linear layer | the same |

Bottleneck blocks put out four times these channels. From stage 2 on a stage's first block has stride 2. Parameters of
plain nets and of those with option A are equal: in family cifar 269,722 at depth 20, 853,018 at 56, 1,727,962 at 110.
Images of other sizes work the same way.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import BlockKind, Family, NetworkConfig
from harness.models.activation_checkpointing import Staged
from harness.models.blocks import EXPANSION, Block, Place, survivals
from harness.models.channels_last import global_average
from harness.models.convolutions import convolution
from harness.models.norms import make_norm


class Stem(nn.Module):
    """The first convolution, norm and ReLU, and in family imagenet the maximum after them."""

    def __init__(self, in_channels: int, config: NetworkConfig) -> None:
        super().__init__()
        width, large = int(config.width), config.family == Family.imagenet
        kernel, stride = (7, 2) if large else (3, 1)
        self.conv = convolution(in_channels, width, kernel, stride, config.norm)
        self.norm = make_norm(config.norm, width)
        self.pool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(functional.relu(self.norm(self.conv(x))))
        return pooled


class ResidualNet(Staged):
    """A stem, stages of blocks, global average pooling and a linear layer: [B, C, H, W] to logits [B, classes]."""

    def __init__(self, config: NetworkConfig, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = Stem(channels, config)
        self.stages = nn.ModuleList(nn.Sequential(*(Block(config, place) for place in stage)) for stage in places(config))
        self.linear = nn.Linear(places(config)[-1][-1].out_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(global_average(self.through_stages(self.stem(x))))
        return logits


def places(config: NetworkConfig) -> list[list[Place]]:
    """Return where each block stands, stage by stage."""
    counts, channels = config.stage_blocks, int(config.width)
    expansion = EXPANSION[BlockKind(config.block)]
    survival, found = iter(survivals(config.survival, sum(counts))), list[list[Place]]()
    for number, count in enumerate(counts):
        out, stage = int(config.width) * 2**number * expansion, []
        for position in range(count):
            first, last = not found and position == 0, number == len(counts) - 1 and position == count - 1
            stride = 2 if number > 0 and position == 0 else 1
            stage.append(Place(channels, out, stride, first, last, next(survival)))
            channels = out
        found.append(stage)
    return found
