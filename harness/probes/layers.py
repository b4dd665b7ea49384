"""The probe `layers`: gradients, weights, updates and responses of weighted layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from harness.config.registry import PROBE
from harness.probes.base import Context, Float64Buffer, ProbeRow, forward_hooks, gradient, norms


@PROBE.register("layers")
class Layers:
    """Each weighted layer: ||dL/dW|| and its nonzero elements, ||W|| before the update, ||update||, response std.

    The response is a layer's output after its norm, before ReLU and addition (He et al. 2015, Fig. 7); its standard
    deviation is over batch, channels and positions.
    """

    @contextmanager
    def watch(self, context: Context) -> Iterator[list[ProbeRow]]:
        rows: list[ProbeRow] = []
        layers, as_float64 = context.layers, Float64Buffer()
        before = [layer.weight.detach().clone() for layer in layers]
        response_stds: dict[int, Tensor] = {}

        def record_response(i: int, module: nn.Module, inputs: object, output: Tensor) -> None:
            response = as_float64(output)
            mean, mean_square = response.mean(), torch.dot(response, response) / response.numel()
            response_stds[i] = (mean_square - mean**2).clamp(min=0).sqrt()

        with forward_hooks((layer.response, partial(record_response, i)) for i, layer in enumerate(layers)):
            yield rows
        gradients = [gradient(layer) for layer in layers]
        updates = torch._foreach_sub([layer.weight.detach() for layer in layers], before)
        grad_norms, weight_norms, update_norms = norms(gradients), norms(before), norms(updates)
        for i, layer in enumerate(layers):
            rows.append(
                {
                    "step": context.step,
                    "layer": layer.number,
                    "name": layer.name,
                    "kind": layer.kind,
                    "grad_norm": grad_norms[i],
                    "weight_norm": weight_norms[i],
                    "update_norm": update_norms[i] if context.step < context.steps else None,
                    "nonzero": torch.count_nonzero(gradients[i]),
                    "elements": layer.weight.numel(),
                    "response_std": response_stds[i],
                }
            )
