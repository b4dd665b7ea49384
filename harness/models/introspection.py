"""A net's weighted layers and blocks, in forward order, numbered and named as the papers count them.

A plugin's network says which they are by `layer_names` and `block_names` (`harness.models.build`). Of the others they are read
off the module tree: convolutions `convK` respond after their neighbour `normK` if there is one, what lies inside a
`shortcut` is a projection or a gate, `stem` and `stages` hold the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import nn


@dataclass(frozen=True)
class Layer:
    """A weighted layer.

    `number` counts from 1 in forward order, None for a projection or gate, which the papers do not count; `kind` is conv,
    linear, projection or gate; the output of `response` is the layer's response, after its norm, before ReLU and addition.
    """

    number: int | None
    name: str
    kind: str
    weight: nn.Parameter
    response: nn.Module


@dataclass(frozen=True)
class Block:
    """A block: its number from 1 in forward order (0 is the stem), its stage (0 for the stem) and module."""

    number: int
    name: str
    stage: int
    module: nn.Module


def layers(model: nn.Module) -> list[Layer]:
    """Return the weighted layers in forward order, projections among them, named after their block."""
    modules = dict(model.named_modules())
    names = getattr(model, "layer_names", None) or [
        name for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    found, number = [], 0
    for name in names:
        module = modules[name]
        parent, _, own = name.rpartition(".")
        if ".shortcut" in name:
            place, kind = None, "gate" if own == "gate" else "projection"
        else:
            number += 1
            place, kind = number, "linear" if isinstance(module, nn.Linear) else "conv"
        response = cast(nn.Module, getattr(modules[parent], own.replace("conv", "norm"), module))
        found.append(Layer(place, name, kind, module.get_parameter("weight"), response))
    return found


def blocks(model: nn.Module) -> list[Block]:
    """Return the stem and the blocks in forward order."""
    modules = dict(model.named_modules())
    if not hasattr(model, "stages"):
        return [Block(number, name, 1, modules[name]) for number, name in enumerate(getattr(model, "block_names", ()), 1)]
    names = [name for name in modules if name.count(".") == 2 and name.startswith("stages.")]
    found = [Block(0, "stem", 0, modules["stem"])]
    for number, name in enumerate(names, 1):
        found.append(Block(number, name, int(name.split(".")[1]) + 1, modules[name]))
    return found
