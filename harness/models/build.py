"""From a config to a net, initialised."""

from __future__ import annotations

import torch

from harness.config.network import Family, NetworkConfig
from harness.config.run import RunConfig
from harness.config.seeds import stream_seed
from harness.models.activation_checkpointing import Staged
from harness.models.densenet import DenseNet
from harness.models.initialisation import initialise
from harness.models.residual import ResidualNet


def architecture(config: NetworkConfig, channels: int, classes: int) -> Staged:
    """Return the net of `config` with whatever values PyTorch's constructors give it."""
    family = DenseNet if config.family is Family.densenet else ResidualNet
    return family(config, channels, classes)


def build(config: RunConfig, channels: int, classes: int) -> Staged:
    """Return the initialised net of `config` on the CPU, in channels-last layout; the CPU's global random state stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(config.seed, "constructors"))
        model = architecture(config, channels, classes)
    initialise(model, config.init, config.seed)
    model.recompute = config.activation_checkpointing
    return model.to(memory_format=torch.channels_last)
