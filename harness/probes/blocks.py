"""The probe `blocks`: outputs of blocks and the gradients with respect to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from harness.config.registry import PROBE
from harness.probes.base import Context, Float64Buffer, ProbeRow, forward_hooks


@PROBE.register("blocks")
class Blocks:
    """Each block's output: its norm, the norm of the loss gradient with respect to it, and that gradient's nonzero elements."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        rows: list[ProbeRow] = []
        measured: list[ProbeRow] = [{} for _ in context.blocks]
        as_float64 = Float64Buffer()

        def forward(i: int, module: nn.Module, inputs: object, output: Tensor) -> None:
            measured[i] |= {"forward_norm": torch.linalg.vector_norm(as_float64(output)), "elements": output.numel()}
            output.register_hook(partial(backward, i))  # type: ignore[no-untyped-call]

        def backward(i: int, gradient: Tensor) -> None:
            values = as_float64(gradient)
            measured[i] |= {"grad_norm": torch.linalg.vector_norm(values), "nonzero": torch.count_nonzero(values)}

        with forward_hooks((block.module, partial(forward, i)) for i, block in enumerate(context.blocks)):
            yield rows
        for block, values in zip(context.blocks, measured, strict=True):
            row = {"step": context.step, "block": block.number, "name": block.name, "stage": block.stage}
            rows.append(row | {column: values[column] for column in ("forward_norm", "grad_norm", "nonzero", "elements")})
