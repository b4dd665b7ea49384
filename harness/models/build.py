"""Build the network of a config. A plugin adds a family with `@FAMILY.register(NAME)` on a function or class.

It is called with (config, channels, classes, side) and returns an nn.Module from images [N, channels, side, side] to logits
[N, classes]. Optional attributes say what it is made of:

- `keys` of the function or class: the keys of `NetworkConfig`, beside `depth`, that it uses. Any other key is refused.
- `rules` of the function or class: `harness.config.families.FamilyRules` of its own, which have the keys, too.
- `layer_names` of the module: the names of the weighted modules that count as layers, in forward order, the classifier last.
  By default all convolutions and linear layers in the order in which they are registered.
- `block_names` of the module: the names of its blocks in forward order. By default there are none.
"""

from __future__ import annotations

import torch
from torch import nn

from harness.config.network import NetworkConfig
from harness.config.registry import FAMILY
from harness.config.run import RunConfig
from harness.config.seeds import stream_seed
from harness.models.activation_checkpointing import Staged
from harness.models.densenet import DenseNet
from harness.models.initialisation import initialise
from harness.models.residual import ResidualNet


@FAMILY.register("cifar")
@FAMILY.register("imagenet")
def residual(config: NetworkConfig, channels: int, classes: int, side: int) -> nn.Module:
    return ResidualNet(config, channels, classes)


@FAMILY.register("densenet")
def densenet(config: NetworkConfig, channels: int, classes: int, side: int) -> nn.Module:
    return DenseNet(config, channels, classes)


def architecture(config: NetworkConfig, channels: int, classes: int, side: int = 0) -> nn.Module:
    """Return the network with the values that its constructor gives it.

    Args:
        side: side of the images in pixels; the built-in families work for any.
    """
    model: nn.Module = FAMILY[config.family](config, channels, classes, side)
    return model


def build(config: RunConfig, channels: int, classes: int, side: int = 0) -> nn.Module:
    """Return the initialised network on the CPU, in channels-last layout; torch's global random state is unchanged.

    A plugin's family keeps the initial values of its constructor, which is seeded, unless it uses the key `init`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "constructors"))
        model = architecture(config, channels, classes, side)
    if "init" in config.rules.keys:
        initialise(model, config.init, config.seed)
    if isinstance(model, Staged):
        model.recompute = config.execution.activation_checkpointing
    return model.to(memory_format=torch.channels_last)
