"""Summarise a net layer by layer from one pass of fake tensors, which have shapes but no data and need no memory."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from itertools import count, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from harness.config.network import NetworkConfig
from harness.models import introspection
from harness.models.build import architecture

SHALLOW = 4
"""Blocks per stage of the shallow net from which deeper ones are extrapolated."""


@dataclass(frozen=True)
class SummaryRow:
    """A layer with parameters.

    Attributes:
        number: position among the weighted layers as the papers count them; None for projections, gates and norms after no layer.
        shape: output shape without the batch.
        parameters: those of the layer and of the norm after it.
        flops: for one image; a multiply-add counts as two.
        receptive_field: side, in pixels, of the image region that an output value depends on, at most.
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
    """Lower bound of a training step's memory in bytes: weights, gradients, momentum, and activations kept for backward."""

    weights: int
    activations: int

    @property
    def total(self) -> int:
        return 3 * self.weights + self.activations


@dataclass(frozen=True)
class Summary:
    """The layers of a net and the memory of a training step."""

    rows: list[SummaryRow]
    memory: Memory

    @property
    def weighted_layers(self) -> int:
        return sum(row.number is not None for row in self.rows)

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """FLOPs of convolutions and linear layers in a forward pass of one image; a multiply-add counts as two."""
        return sum(row.flops for row in self.rows)


def summarize(
    config: NetworkConfig,
    channels: int,
    image_size: int,
    classes: int,
    batch_size: int,
    bf16: bool = False,
    recompute: bool = False,
) -> Summary:
    """Return the summary of a net for images [channels, image_size, image_size].

    Deep nets whose stages repeat one block are extrapolated from shallow ones. Raises RuntimeError if the images are too small.

    Args:
        bf16: whether the step runs in bfloat16 autocast.
        recompute: whether the step uses activation checkpointing.
    """
    args = (channels, image_size, classes, batch_size, bf16, recompute)
    form = config.rules.repeating_depths(config)
    if form is None or (blocks := config.stage_blocks[0]) <= SHALLOW + 1:
        return _trace(config, *args)
    keys = {f.name: getattr(config, f.name) for f in fields(NetworkConfig)}
    shallow, next_deeper = (
        _trace(NetworkConfig(**(keys | {"depth": form.step * n + form.rest})), *args) for n in (SHALLOW, SHALLOW + 1)
    )
    before, after = astuple(shallow.memory), astuple(next_deeper.memory)
    memory = [a + (blocks - SHALLOW) * (b - a) for a, b in zip(before, after, strict=True)]
    return Summary(extrapolate(shallow.rows, blocks), Memory(*memory))


def extrapolate(rows: Sequence[SummaryRow], blocks: int) -> list[SummaryRow]:
    """Return the rows of a net with `blocks` blocks per stage, from those of the same net with `SHALLOW`.

    The third block of each stage is repeated; the first two blocks and the last one can differ from it.
    """
    deep, shift = list[SummaryRow](), 0
    for stage, stage_rows in groupby(rows, lambda row: row.name.split(".")[1] if row.name.startswith("stages.") else ""):
        if not stage:
            deep += [replace(row, receptive_field=row.receptive_field + shift) for row in stage_rows]
            continue
        shallow = [list(block_rows) for _, block_rows in groupby(stage_rows, lambda row: row.name.split(".")[2])]
        growth = shallow[2][0].receptive_field - shallow[1][0].receptive_field
        for block in range(blocks):
            template = SHALLOW - 1 if block == blocks - 1 else min(block, 2)
            widening = shift + (block - template) * growth
            for row in shallow[template]:
                name = f"stages.{stage}.{block}.{row.name.split('.', 3)[3]}"
                deep.append(replace(row, name=name, receptive_field=row.receptive_field + widening))
        shift += (blocks - SHALLOW) * growth
    numbers = count(1)
    return [row if row.number is None else replace(row, number=next(numbers)) for row in deep]


def _trace(
    config: NetworkConfig, channels: int, image_size: int, classes: int, batch_size: int, bf16: bool, recompute: bool
) -> Summary:
    """Return the summary of a net from one pass through all of it."""
    with FakeTensorMode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model = architecture(config, channels, classes, image_size)
        images = torch.empty(batch_size, channels, image_size, image_size)
        counter, trace = FlopCounterMode(display=False), Trace(model)
        with trace.saved_tensors(), counter:
            model(images)
    flops = {name.partition(".")[2]: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    layers = {layer.name: layer for layer in introspection.layers(model)}
    counted_norms = {layer.response for layer in layers.values() if isinstance(layer.response, _BatchNorm)}
    rows = []
    for name, module in model.named_modules():
        number, kind, parameters = None, "norm", _own_parameters(module)
        if layer := layers.get(name):
            number, kind = layer.number, layer.kind
            if isinstance(module, nn.Conv2d):
                kind = f"{module.kernel_size[0]}x{module.kernel_size[0]} {kind}"
            if layer.response in counted_norms:
                parameters += _own_parameters(layer.response)
        elif not parameters or module in counted_norms:
            continue
        of_image = flops.get(name, 0) // batch_size if layer else 0
        rows.append(SummaryRow(number, name, kind, trace.shapes[name], parameters, of_image, trace.receptive_fields[name]))
    return Summary(rows, Memory(4 * sum(map(_own_parameters, model.modules())), trace.kept_bytes(recompute)))


def _own_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))


class Trace:
    """Records one forward pass of a model. Its hooks are not removed, so the model is for this pass only.

    `shapes` are output shapes without the batch, by module name. `receptive_fields` are those of leaf modules, in pixels, along
    the residual branch, which is the longest path.
    """

    def __init__(self, model: nn.Module) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.receptive_fields: dict[str, int] = {}
        self._receptive_field = self._at_block = (1, 1)  # side, and distance of two neighbouring positions, in pixels
        self._map_side = 0
        self._weights = {_storage(parameter) for parameter in model.parameters()}
        self._block = 0  # number of the block that is running, 0 outside of blocks
        self._kept: dict[int, dict[int, int]] = {0: {}}  # bytes of the storages kept for backward, by block
        self._inputs: dict[int, int] = {}  # bytes of the blocks' inputs
        self._alive: list[Tensor] = []  # a freed storage's address could be reused
        for block in introspection.blocks(model):
            block.module.register_forward_pre_hook(partial(self._enter_block, block.number))
            block.module.register_forward_hook(self._leave_block)
        for name, module in model.named_modules():
            module.register_forward_hook(partial(self._record_output, name))

    def saved_tensors(self) -> AbstractContextManager[Any]:
        """Return a context that records which tensors autograd keeps for the backward pass."""
        return torch.autograd.graph.saved_tensors_hooks(self._record_saved, lambda tensor: tensor)

    def kept_bytes(self, recompute: bool) -> int:
        """Return the bytes that the pass kept for the backward pass, without weights.

        With `recompute` these are the inputs of the blocks, everything outside the blocks, and the contents of the largest block.
        """
        outside, *blocks = (
            {storage: size for storage, size in sizes.items() if storage not in self._weights} for sizes in self._kept.values()
        )
        if recompute:
            return sum((outside | self._inputs).values()) + max((sum(sizes.values()) for sizes in blocks), default=0)
        return sum(ChainMap(outside, *blocks).values())

    def _enter_block(self, number: int, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._at_block = self._receptive_field
        if number:
            self._block, self._kept[number] = number, {}
            self._alive.append(inputs[0])
            self._inputs[_storage(inputs[0])] = inputs[0].untyped_storage().nbytes()

    def _leave_block(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._block = 0

    def _record_saved(self, tensor: Tensor) -> Tensor:
        self._alive.append(tensor)
        self._kept[self._block][_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    def _record_output(self, name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.shapes[name] = tuple(output.shape[1:])
        if list(module.children()):
            return
        on_shortcut = ".shortcut" in name
        side, distance = self._at_block if on_shortcut else self._receptive_field
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            side += (_first(module.kernel_size) - 1) * distance
            distance *= _first(module.stride)
            self._map_side = output.shape[-1]
        elif isinstance(module, nn.Linear):
            side += (self._map_side - 1) * distance
        self.receptive_fields[name] = side
        if not on_shortcut:
            self._receptive_field = side, distance


def _storage(tensor: Tensor) -> int:
    """Return the address of a tensor's storage object, which identifies the storage while it exists."""
    return int(tensor.untyped_storage()._cdata)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, tuple) else value)
