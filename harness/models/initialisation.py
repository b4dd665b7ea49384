"""Initial values: each tensor has its own random stream, determined by the seed and the parameter's name.

Two nets with equal seeds therefore have equal values in every tensor that they share by name and shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.config.registry import INIT
from harness.config.seeds import stream_seed
from harness.models.shortcuts import Gate


@INIT.register("he")
def he(weight: Tensor, generator: torch.Generator) -> None:
    """He normal with fan-out, std sqrt(2 / fan_out) (He et al. 2015b, eq. 14; the choice of the released Torch code)."""
    weight.normal_(0.0, math.sqrt(2.0 / fans(weight)[1]), generator=generator)


@INIT.register("he_fan_in")
def he_fan_in(weight: Tensor, generator: torch.Generator) -> None:
    """He normal with fan-in, std sqrt(2 / fan_in) (He et al. 2015b, eq. 10)."""
    weight.normal_(0.0, math.sqrt(2.0 / fans(weight)[0]), generator=generator)


@INIT.register("xavier")
def xavier(weight: Tensor, generator: torch.Generator) -> None:
    """Glorot uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    bound = math.sqrt(6.0 / sum(fans(weight)))
    weight.uniform_(-bound, bound, generator=generator)


@INIT.register("torch")
def default(weight: Tensor, generator: torch.Generator) -> None:
    """PyTorch's default for convolutions and linear layers: uniform within 1 / sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(fans(weight)[0])
    weight.uniform_(-bound, bound, generator=generator)


def fans(weight: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight [out, in] or [out, in, k, k]: units times kernel positions."""
    positions = weight[0, 0].numel()
    return weight.shape[1] * positions, weight.shape[0] * positions


@torch.no_grad()
def initialise(model: nn.Module, init: str, seed: int) -> None:
    """Initialise every convolution and linear layer of `model`; norms keep gamma 1 and beta 0.

    Convolutions use `init`. Linear layers use PyTorch's default, since the papers initialise convolutions only. Biases are
    zero, except that init=torch uses PyTorch's default and gates use their `initial_bias`.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        draw = INIT["torch" if isinstance(module, nn.Linear) else init]
        draw(module.weight, _generator(seed, f"{name}.weight"))
        if module.bias is not None:
            bound = 1.0 / math.sqrt(fans(module.weight)[0]) if init == "torch" else 0.0
            module.bias.uniform_(-bound, bound, generator=_generator(seed, f"{name}.bias"))
        if isinstance(module, Gate):
            nn.init.constant_(module.get_parameter("bias"), module.initial_bias)


def _generator(seed: int, tensor: str) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, "initial value", tensor))
