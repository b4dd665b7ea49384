"""The weighted layers and blocks of a net, in forward order, numbered as in the papers.

A plugin's network names them in `layer_names` and `block_names` (`harness.models.build`). In built-in nets they follow from the
module tree: `stem` and `stages` hold the blocks, the response of convolution `convK` is the output of its sibling `normK` if any,
and convolutions inside a `shortcut` are projections or gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import cast

from torch import nn


@dataclass(frozen=True)
class LayerInfo:
    """A weighted layer.

    Attributes:
        number: position in forward order, from 1; None for projections and gates, which the papers do not count.
        kind: conv, linear, projection or gate.
        response: the module whose output is the layer's response, after its norm, before ReLU and addition.
    """

    number: int | None
    name: str
    kind: str
    weight: nn.Parameter
    response: nn.Module


@dataclass(frozen=True)
class BlockInfo:
    """A block: its number in forward order, from 1, and its stage; both are 0 for the stem."""

    number: int
    name: str
    stage: int
    module: nn.Module


def layers(model: nn.Module) -> list[LayerInfo]:
    """Return the weighted layers in forward order, projections and gates included."""
    modules = dict(model.named_modules())
    names = getattr(model, "layer_names", None) or [
        name for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    infos: list[LayerInfo] = []
    numbers = count(1)
    for name in names:
        module = modules[name]
        parent, _, attribute = name.rpartition(".")
        kind = "linear" if isinstance(module, nn.Linear) else "conv"
        if on_shortcut := ".shortcut" in name:
            kind = "gate" if attribute == "gate" else "projection"
        number = None if on_shortcut else next(numbers)
        response = cast(nn.Module, getattr(modules[parent], attribute.replace("conv", "norm"), module))
        infos.append(LayerInfo(number, name, kind, module.get_parameter("weight"), response))
    return infos


def blocks(model: nn.Module) -> list[BlockInfo]:
    """Return the blocks in forward order, in built-in nets after the stem."""
    modules = dict(model.named_modules())
    if not hasattr(model, "stages"):
        return [BlockInfo(number, name, 1, modules[name]) for number, name in enumerate(getattr(model, "block_names", ()), 1)]
    names = [name for name in modules if name.startswith("stages.") and name.count(".") == 2]
    return [BlockInfo(0, "stem", 0, modules["stem"])] + [
        BlockInfo(number, name, int(name.split(".")[1]) + 1, modules[name]) for number, name in enumerate(names, 1)
    ]
