"""The two probes of every run: gradients and responses of layers, activations and their gradients of blocks.

Other built-in probes have modules of their own, imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from harness.config.registry import PROBE
from harness.probes import lesions  # noqa: F401  # registers itself
from harness.probes.base import Context, Exact, Row, gradient, norms


@PROBE.register("layers")
class Layers:
    """Each weighted layer: ||dL/dW|| and its nonzero elements, ||W|| before the update, ||update||, response std.

    The response is a layer's output after its norm, before ReLU and addition (He et al. 2015, Fig. 7); its standard
    deviation is over batch, channels and positions.
    """

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[Row]]:
        rows: list[Row] = []
        layers = context.layers
        before = [layer.weight.detach().clone() for layer in layers]
        exact = Exact()
        moments: list[list[Tensor]] = [[] for _ in layers]
        places = zip(layers, moments, strict=True)
        hooks = [layer.response.register_forward_hook(partial(_respond, exact, into)) for layer, into in places]
        try:
            yield rows
        finally:
            for hook in hooks:
                hook.remove()
        gradients = [gradient(layer) for layer in layers]
        updates = torch._foreach_sub([layer.weight.detach() for layer in layers], before)
        n = len(layers)
        sizes = norms([*gradients, *before, *updates])
        for i, layer in enumerate(layers):
            mean, mean_square = moments[i]
            rows.append(
                {
                    "step": context.step,
                    "layer": layer.number,
                    "name": layer.name,
                    "kind": layer.kind,
                    "grad_norm": sizes[i],
                    "weight_norm": sizes[n + i],
                    "update_norm": sizes[2 * n + i] if context.step < context.steps else None,
                    "nonzero": torch.count_nonzero(gradients[i]),
                    "elements": layer.weight.numel(),
                    "response_std": (mean_square - mean**2).clamp(min=0).sqrt(),
                }
            )


@PROBE.register("blocks")
class Blocks:
    """Each block's output: its norm, the norm of the loss gradient with respect to it, and how many elements are nonzero."""

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[Row]]:
        rows: list[Row] = []
        seen: list[dict[str, Tensor]] = [{} for _ in context.blocks]
        sizes: list[int] = [0] * len(context.blocks)

        exact = Exact()

        def forward(i: int, module: nn.Module, inputs: object, output: Tensor) -> None:
            seen[i]["forward"] = torch.linalg.vector_norm(exact(output))
            sizes[i] = output.numel()
            output.register_hook(partial(backward, i))  # type: ignore[no-untyped-call]

        def backward(i: int, gradient: Tensor) -> None:
            values = exact(gradient)
            seen[i]["gradient"] = torch.linalg.vector_norm(values)
            seen[i]["nonzero"] = torch.count_nonzero(values)

        hooks = [block.module.register_forward_hook(partial(forward, i)) for i, block in enumerate(context.blocks)]
        try:
            yield rows
        finally:
            for hook in hooks:
                hook.remove()
        for i, block in enumerate(context.blocks):
            rows.append(
                {
                    "step": context.step,
                    "block": block.number,
                    "name": block.name,
                    "stage": block.stage,
                    "forward_norm": seen[i]["forward"],
                    "grad_norm": seen[i]["gradient"],
                    "nonzero": seen[i]["nonzero"],
                    "elements": sizes[i],
                }
            )


def _respond(exact: Exact, into: list[Tensor], module: nn.Module, inputs: object, output: Tensor) -> None:
    """Keep mean and mean square of a response, accumulated in float64."""
    response = exact(output)
    into[:] = response.mean(), torch.dot(response, response) / response.numel()
