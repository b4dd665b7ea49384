"""What a net is, layer by layer, found out without data and without memory: one pass of tensors that have only a shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from itertools import count, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from harness.config.network import DEPTHS, BlockKind, Family, Form, NetworkConfig
from harness.models import introspection
from harness.models.build import architecture

SHALLOW = 4
"""Blocks a stage of the net that stands for deeper ones."""


@dataclass(frozen=True)
class Row:
    """A layer with parameters.

    `number` counts weighted layers as the papers do, None for projections, gates and norms that follow no layer; a norm that
    follows a layer counts among its parameters. `shape` is the output without the batch; `flops` are for one image, a
    multiply-add counting as two; `receptive_field` is the side in pixels of what one output value sees, at most.
    """

    number: int | None
    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flops: int
    receptive_field: int


@dataclass(frozen=True)
class Memory:
    """Bytes that a training step needs at least: weights, their gradients and momentum, and what the passes keep."""

    weights: int
    activations: int

    @property
    def total(self) -> int:
        return 3 * self.weights + self.activations


@dataclass(frozen=True)
class Inspection:
    """A net's rows, its weighted layers, and the memory of a training step."""

    rows: list[Row]
    weighted_layers: int
    memory: Memory

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """FLOPs of a forward pass of one image through convolutions and linear layers, a multiply-add counting as two."""
        return sum(row.flops for row in self.rows)


def inspect(
    config: NetworkConfig,
    channels: int,
    image_size: int,
    classes: int,
    batch_size: int,
    bf16: bool = False,
    recompute: bool = False,
) -> Inspection:
    """Return what the net of `config` is for images [channels, image_size, image_size].

    Of a deep net whose stages repeat one block, a shallow one is looked at, and continued to the depth. `recompute` is for a
    step with activation checkpointing. Raises RuntimeError where the images are too small for the net.
    """
    others = (channels, image_size, classes, batch_size, bf16, recompute)
    if config.is_plugin_family:
        return _whole(config, *others)
    blocks = config.stage_blocks[0]
    form = DEPTHS[config.family, BlockKind(config.block)]
    if not isinstance(form, Form) or config.family == Family.densenet or blocks <= SHALLOW + 1:
        return _whole(config, *others)
    keys = {f.name: getattr(config, f.name) for f in fields(NetworkConfig)}
    shallow, next_one = (
        _whole(NetworkConfig(**(keys | {"depth": form.step * count + form.rest})), *others) for count in (SHALLOW, SHALLOW + 1)
    )
    rows = continued(shallow.rows, blocks)
    grown = [
        few + (blocks - SHALLOW) * (more - few)
        for few, more in zip(astuple(shallow.memory), astuple(next_one.memory), strict=True)
    ]
    return Inspection(rows, sum(row.number is not None for row in rows), Memory(*grown))


def continued(rows: Sequence[Row], blocks: int) -> list[Row]:
    """Return the rows of a net with `blocks` blocks a stage, from those of the same net with `SHALLOW`.

    What repeats is the third block of each stage; the first ones and the last have something to themselves.
    """
    found, shift = list[Row](), 0
    for stage, of_stage in groupby(rows, lambda row: row.name.split(".")[1] if row.name.startswith("stages.") else ""):
        if not stage:
            found += [replace(row, receptive_field=row.receptive_field + shift) for row in of_stage]
            continue
        block = [list(own) for _, own in groupby(of_stage, lambda row: row.name.split(".")[2])]
        wider = block[2][0].receptive_field - block[1][0].receptive_field
        for place in range(blocks):
            model = SHALLOW - 1 if place == blocks - 1 else min(place, 2)
            field = shift + (place - model) * wider
            for row in block[model]:
                name = f"stages.{stage}.{place}.{row.name.split('.', 3)[3]}"
                found.append(replace(row, name=name, receptive_field=row.receptive_field + field))
        shift += (blocks - SHALLOW) * wider
    numbers = count(1)
    return [row if row.number is None else replace(row, number=next(numbers)) for row in found]


def _whole(
    config: NetworkConfig, channels: int, image_size: int, classes: int, batch_size: int, bf16: bool, recompute: bool
) -> Inspection:
    """Return what the net is, found by one pass through all of it."""
    with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model = architecture(config, channels, classes, image_size)
        images = torch.empty(batch_size, channels, image_size, image_size)
        counter = FlopCounterMode(display=False)
        with _shapes(model) as shapes, _fields(model) as fields, _kept(model, recompute) as kept, counter:
            model(images)
    flops = {name.partition(".")[2]: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    layers, modules = introspection.layers(model), dict(model.named_modules())
    sizes = {name: sum(p.numel() for p in module.parameters(recurse=False)) for name, module in modules.items()}
    norms = {id(layer.response): layer.name for layer in layers if isinstance(layer.response, _BatchNorm)}
    numbered = {layer.name: layer for layer in layers}
    rows = []
    for name, module in modules.items():
        if name in numbered:
            layer = numbered[name]
            own = sizes[name] + sum(sizes[other] for other, norm in modules.items() if norms.get(id(norm)) == name)
            kind = (
                f"{module.kernel_size[0]}x{module.kernel_size[0]} {layer.kind}" if isinstance(module, nn.Conv2d) else layer.kind
            )
            row = Row(layer.number, name, kind, shapes[name], own, flops.get(name, 0) // batch_size, fields[name])
            rows.append(row)
        elif sizes[name] and id(module) not in norms:
            rows.append(Row(None, name, "norm", shapes[name], sizes[name], 0, fields[name]))
    weights = 4 * sum(sizes.values())
    return Inspection(rows, sum(row.number is not None for row in rows), Memory(weights, kept()))


@contextmanager
def _shapes(model: nn.Module) -> Iterator[dict[str, tuple[int, ...]]]:
    """Note the shape of every module's output."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])

    with _hooked((module, "register_forward_hook", partial(note, name)) for name, module in model.named_modules()):
        yield shapes


@contextmanager
def _fields(model: nn.Module) -> Iterator[dict[str, int]]:
    """Note the receptive field after every module, along the residual branch: the longest path there is."""
    fields: dict[str, int] = {}
    state, at_block, side = (1, 1), (1, 1), 0  # receptive field and distance of two neighbours, in pixels

    def enter(module: nn.Module, inputs: object) -> None:
        nonlocal at_block
        at_block = state

    def widen(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal state, side
        field, distance = at_block if ".shortcut" in name else state
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride = _pair(module.kernel_size), _pair(module.stride)
            field, distance, side = field + (kernel - 1) * distance, distance * stride, output.shape[-1]
        elif isinstance(module, nn.Linear):
            field += (side - 1) * distance
        fields[name] = field
        if ".shortcut" not in name:
            state = field, distance

    blocks = [block.module for block in introspection.blocks(model)]
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    entering = [(block, "register_forward_pre_hook", enter) for block in blocks]
    widening = [(module, "register_forward_hook", partial(widen, name)) for name, module in leaves]
    with _hooked([*entering, *widening]):
        yield fields


@contextmanager
def _kept(model: nn.Module, recompute: bool) -> Iterator[Callable[[], int]]:
    """Count the bytes that a training pass keeps for the backward pass; give a function that returns them.

    With `recompute` those are the blocks' inputs, what stands outside the blocks, and the largest block's own.
    """
    inside: dict[int, dict[int, int]] = {-1: {}}
    inputs: dict[int, int] = {}
    block = -1
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)  # so that no storage is taken for another
        inside[block][tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    def enter(number: int, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal block
        block = number
        inside[number] = {}
        alive.append(given[0])
        inputs[given[0].untyped_storage()._cdata] = given[0].untyped_storage().nbytes()

    def leave(module: nn.Module, given: object, output: Tensor) -> None:
        nonlocal block
        block = -1

    weights = {p.untyped_storage()._cdata for p in model.parameters()}

    def total() -> int:
        outside = {key: size for key, size in inside[-1].items() if key not in weights}
        blocks = [{k: size for k, size in own.items() if k not in weights} for number, own in inside.items() if number >= 0]
        if recompute:
            return sum((outside | inputs).values()) + max((sum(own.values()) for own in blocks), default=0)
        return sum({key: size for own in [outside, *blocks] for key, size in own.items()}.values())

    modules = [one.module for one in introspection.blocks(model) if one.number > 0]
    entering = [(module, "register_forward_pre_hook", partial(enter, number)) for number, module in enumerate(modules)]
    leaving = [(module, "register_forward_hook", leave) for module in modules]
    with _hooked([*entering, *leaving]), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total


@contextmanager
def _hooked(hooks: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for module, method, hook in hooks:
            stack.callback(getattr(module, method)(hook).remove)
        yield


def _pair(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
