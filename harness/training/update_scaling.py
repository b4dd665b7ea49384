"""Updates of equal relative size in all layers, whatever the size of their gradients.

Does a network train badly because its gradients vanish or explode (claim G5)? This intervention removes the size of the gradients
and nothing else. Before each step the gradient g of every parameter tensor is replaced by

    r |w| g / |g|        for the weights w of convolutions and linear layers,
    r sqrt(n) g / |g|    for the n values of a norm or a bias, whose own norm may be zero (sqrt(n) is gamma's at initialisation),

and left as it is if it is zero. Without momentum, a step at learning rate t then moves every weight by r t of its norm. This is
LARS (You et al. 2017, arXiv:1708.03888) with trust coefficient r, without weight decay in the denominator, and applied to norms
and biases, too: an exploding gradient of gamma would also destroy the forward signal.

Limits: rounding errors are scaled up like any gradient, and updates shrink only with the learning rate, not with the loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

TRUST_COEFFICIENT = 0.05
"""r: about |g| / |w| in networks trained without scaling, so that learning rates are comparable.

The median over layers and probed steps of the runs in results/findings/2026-11-23-demo is 0.045 in all three residual nets and
0.073 in the plain net of 20 layers.
"""


@contextmanager
def scaled_gradients(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Rescale the gradient of every parameter within the block, and restore the gradients afterwards."""
    gradients = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    for parameter, gradient in gradients:
        parameter.grad = rescale(parameter.detach(), gradient)
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


def rescale(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient scaled to the norm r |w| or r sqrt(n), in its own type and memory layout.

    Norm and quotient are float64, since the factor for a gradient of 1e-42 overflows float32. A non-finite gradient stays
    non-finite, so that the run diverges.
    """
    exact = gradient.double()
    size = torch.linalg.vector_norm(exact)
    target = torch.linalg.vector_norm(weight, dtype=torch.float64) if weight.ndim > 1 else math.sqrt(weight.numel())
    return (exact * torch.where(size == 0, 0.0, TRUST_COEFFICIENT * target / size)).to(gradient.dtype)
