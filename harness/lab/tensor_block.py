"""The residual block on images with two 3x3 convolutions: formula and autograd compared."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from harness.lab.residual_block import Tensors, by_autograd, by_formula, normal

PARAMETERS = ("W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2")


class Quantity(NamedTuple):
    """A quantity: its shape, mean, standard deviation and 2-norm by formula, its norm by autograd, and their difference.

    `difference` is the norm of the difference relative to that of the quantity; for a bias's gradient, a sum whose terms may
    cancel, relative to the norm of the sum of absolute values.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    norm: float
    norm_autograd: float
    difference: float


def parameters(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the block's parameters from fixed streams: He-normal weights (fan-out), gammas near 1, biases and betas near 0."""

    def initial(name: str) -> Tensor:
        if name.startswith("W"):
            return normal("lab", name, (channels, channels, 3, 3), dtype) * math.sqrt(2 / (9 * channels))
        return 0.1 * normal("lab", name, (channels,), dtype) + name.startswith("gamma")

    return {name: initial(name) for name in PARAMETERS}


def example(shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return x0, the output of a ReLU, and dL/dy, standard normal numbers, both [N, C, H, W] and from fixed streams."""
    x0, dy = (normal("lab", name, shape, dtype).contiguous(memory_format=torch.channels_last) for name in ("x0", "dy"))
    return x0.relu_(), dy


def untrained(channels: int, dtype: torch.dtype = torch.float32) -> Tensors:
    """Return the running statistics before training: mean 0 and variance 1."""
    values = {"mean1": 0.0, "variance1": 1.0, "mean2": 0.0, "variance2": 1.0}
    return {name: torch.full((channels,), value, dtype=dtype) for name, value in values.items()}


def compare(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> tuple[list[Quantity], int]:
    """Compare the block by formula with the block by autograd; return its quantities in order, and the number of flips.

    A flip is an element of x2 or y that is positive in only one of the two: a sum is within rounding of 0, and the gradient
    passes in only one of them. In training mode `running` is updated once, as by a training step.
    """
    expected = by_autograd(p, {name: value.clone() for name, value in running.items()}, x0, dy, training)
    quantities, flips, absolute = [], 0, 0.0
    for name, value in by_formula(p, running, x0, dy, training):
        autograd = expected.pop(name)
        if name in ("dy", "dF"):  # equal to another by definition
            continue
        if name in ("x2", "y"):
            flips += int(torch.count_nonzero((value > 0) != (autograd > 0)))
        if name in ("dx3", "dx1"):
            absolute = _norm(value.abs().sum((0, 2, 3)))
        std, mean = torch.std_mean(value, unbiased=False)
        difference = _norm(value - autograd) / (absolute if name in ("db1", "db2") else _norm(value))
        quantities.append(Quantity(name, tuple(value.shape), float(mean), float(std), _norm(value), _norm(autograd), difference))
    return quantities, flips


def _norm(value: Tensor) -> float:
    return float(torch.linalg.vector_norm(value, dtype=torch.float64))
