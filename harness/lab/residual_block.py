"""The residual block that the lab works by hand: its quantities in order, their formulas, and their values by autograd.

    x1 = W1 x0 + b1    a1 = gamma1 x^1 + beta1    x2 = ReLU(a1)
    x3 = W2 x2 + b2    F = gamma2 x^3 + beta2     s = F + x0      y = ReLU(s)

x^ is x normalised (Ioffe and Szegedy 2015, Algorithm 1): in training mode by mean and variance of the batch, in evaluation mode
by running ones. It is the original block (He et al. 2016, Fig. 4a) with biases, which the note has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5
"""Added to the variance, as everywhere in the harness."""
Tensors = dict[str, Tensor]
FORMULAS: Mapping[str, tuple[str, str]] = {
    "x1": ("x₁", "W₁x₀ + b₁"),
    "a1": ("a₁", "γ₁x̂₁ + β₁"),
    "x2": ("x₂", "ReLU(a₁)"),
    "x3": ("x₃", "W₂x₂ + b₂"),
    "F": ("F", "γ₂x̂₃ + β₂"),
    "s": ("s", "F + x₀"),
    "y": ("y", "ReLU(s)"),
    "dy": ("∂L/∂y", ""),
    "ds": ("∂L/∂s", "∂L/∂y · [s > 0]"),
    "dF": ("∂L/∂F", "∂L/∂s"),
    "dgamma2": ("∂L/∂γ₂", "Σ ∂L/∂F · x̂₃"),
    "dbeta2": ("∂L/∂β₂", "Σ ∂L/∂F"),
    "dx3": ("∂L/∂x₃", "BN′(∂L/∂F)"),
    "dW2": ("∂L/∂W₂", "Σ ∂L/∂x₃ · x₂"),
    "db2": ("∂L/∂b₂", "Σ ∂L/∂x₃"),
    "dx2": ("∂L/∂x₂", "∂L/∂x₃ · W₂"),
    "da1": ("∂L/∂a₁", "∂L/∂x₂ · [a₁ > 0]"),
    "dgamma1": ("∂L/∂γ₁", "Σ ∂L/∂a₁ · x̂₁"),
    "dbeta1": ("∂L/∂β₁", "Σ ∂L/∂a₁"),
    "dx1": ("∂L/∂x₁", "BN′(∂L/∂a₁)"),
    "dW1": ("∂L/∂W₁", "Σ ∂L/∂x₁ · x₀"),
    "db1": ("∂L/∂b₁", "Σ ∂L/∂x₁"),
    "dx0_shortcut": ("∂L/∂x₀ (+ x₀)", "∂L/∂s"),
    "dx0_branch": ("∂L/∂x₀ (F)", "∂L/∂x₁ · W₁"),
    "dx0": ("∂L/∂x₀", "∂L/∂s + ∂L/∂x₁ · W₁"),
}
"""Symbol and formula of each quantity, in the order of computation; BN' is the backward pass of batch normalisation."""
FORWARD = tuple(name for name in FORMULAS if not name.startswith("d"))
BACKWARD = tuple(name for name in FORMULAS if name.startswith("d"))


def by_autograd(
    parameters: Tensors,
    x0: Tensor,
    dy: Tensor,
    linear: Callable[[Tensor, Tensor, Tensor], Tensor],
    normalise: Callable[[Tensor, Tensor, Tensor, int], Tensor],
) -> Tensors:
    """Return every quantity of FORMULAS, gradients by torch's automatic differentiation.

    The layers are `linear(x, weight, bias)` and `normalise(x, gamma, beta, n)`, where n is 1 or 2.
    """
    p = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    into_branch, into_sum = x0.detach().requires_grad_(), x0.detach().requires_grad_()
    values = {"x1": linear(into_branch, p["W1"], p["b1"])}
    values["a1"] = normalise(values["x1"], p["gamma1"], p["beta1"], 1)
    values["x2"] = functional.relu(values["a1"])
    values["x3"] = linear(values["x2"], p["W2"], p["b2"])
    values["F"] = normalise(values["x3"], p["gamma2"], p["beta2"], 2)
    values["s"] = values["F"] + into_sum
    values["y"] = functional.relu(values["s"])
    inputs = {name: values[name] for name in ("x1", "a1", "x2", "x3", "F", "s")} | p
    inputs |= {"x0_shortcut": into_sum, "x0_branch": into_branch}
    gradients = dict(zip(inputs, torch.autograd.grad(values["y"], list(inputs.values()), dy), strict=True))
    gradients |= {"y": dy, "x0": gradients["x0_shortcut"] + gradients["x0_branch"]}
    return {name: values[name].detach() for name in FORWARD} | {name: gradients[name[1:]] for name in BACKWARD}
