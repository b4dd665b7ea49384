"""The residual block that the lab works by hand, forward and backward, by formula and by autograd.

    x1 = W1 x0 + b1    a1 = gamma1 x^1 + beta1    x2 = ReLU(a1)
    x3 = W2 x2 + b2    F = gamma2 x^3 + beta2     s = F + x0      y = ReLU(s)

x^ is x normalised (Ioffe and Szegedy 2015, Algorithm 1): in training mode by mean and variance of the batch, in evaluation mode
by running ones. It is the original block (He et al. 2016, Fig. 4a; a test compares it with `harness.models.blocks.Block`) with
biases, which the note has. x0 is [N, C, H, W]; W1 and W2 are convolutions of odd size and stride 1 that keep H and W.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn import grad as adjoint

from harness.config.seeds import stream_seed

EPSILON = 1e-5
"""Added to the variance, as everywhere in the harness."""
MOMENTUM = 0.1
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


def normal(stream: str, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
    """Return independent standard normal numbers. `stream` and `name` determine them."""
    generator = torch.Generator().manual_seed(stream_seed(0, stream, name))
    return torch.randn(*shape, generator=generator, dtype=dtype)


def by_formula(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Iterator[tuple[str, Tensor]]:
    """Yield each quantity of FORMULAS as soon as it is known; a later step may overwrite it.

    A quantity may take hundreds of MiB, so none is kept longer than needed. Updates the running statistics in training mode.
    """
    padding = p["W1"].shape[-1] // 2
    x1 = functional.conv2d(x0, p["W1"], p["b1"], padding=padding)
    yield "x1", x1
    a1, normed1, scale1 = _normalise(x1, p, running, 1, training)
    del x1
    yield "a1", a1
    open1 = a1 > 0
    x2 = a1.clamp_(min=0)
    yield "x2", x2
    x3 = functional.conv2d(x2, p["W2"], p["b2"], padding=padding)
    yield "x3", x3
    branch, normed2, scale2 = _normalise(x3, p, running, 2, training)
    del x3
    yield "F", branch
    s = branch.add_(x0)
    yield "s", s
    yield "y", s.clamp(min=0)

    yield "dy", dy
    ds = dy * (s > 0)
    del s, branch
    yield "ds", ds
    yield "dF", ds
    dx3, dgamma2, dbeta2 = _back_through_norm(ds, normed2, scale2, training)
    del normed2
    yield "dgamma2", dgamma2
    yield "dbeta2", dbeta2
    yield "dx3", dx3
    yield "dW2", adjoint.conv2d_weight(x2, p["W2"].shape, dx3, padding=padding)  # type: ignore[no-untyped-call]
    del x2, a1
    yield "db2", dx3.sum((0, 2, 3))
    dx2 = adjoint.conv2d_input(x0.shape, p["W2"], dx3, padding=padding)  # type: ignore[no-untyped-call]
    del dx3
    yield "dx2", dx2
    da1 = dx2.mul_(open1)
    yield "da1", da1
    dx1, dgamma1, dbeta1 = _back_through_norm(da1, normed1, scale1, training)
    del da1, dx2, normed1, open1
    yield "dgamma1", dgamma1
    yield "dbeta1", dbeta1
    yield "dx1", dx1
    yield "dW1", adjoint.conv2d_weight(x0, p["W1"].shape, dx1, padding=padding)  # type: ignore[no-untyped-call]
    yield "db1", dx1.sum((0, 2, 3))
    by_branch = adjoint.conv2d_input(x0.shape, p["W1"], dx1, padding=padding)  # type: ignore[no-untyped-call]
    del dx1
    yield "dx0_shortcut", ds
    yield "dx0_branch", by_branch
    yield "dx0", by_branch.add_(ds)


def by_autograd(p: Tensors, running: Tensors, x0: Tensor, dy: Tensor, training: bool) -> Tensors:
    """Return every quantity of FORMULAS, gradients by torch's automatic differentiation.

    Updates the running statistics in training mode.
    """
    p = {name: value.detach().requires_grad_() for name, value in p.items()}
    into_branch, into_sum = x0.detach().requires_grad_(), x0.detach().requires_grad_()

    def normalise(x: Tensor, n: int) -> Tensor:
        if training and x.numel() == x.shape[1]:  # torch refuses a single value per channel
            return p[f"gamma{n}"] * (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + EPSILON) + p[f"beta{n}"]
        statistics = running[f"mean{n}"], running[f"variance{n}"]
        return functional.batch_norm(x, *statistics, p[f"gamma{n}"], p[f"beta{n}"], training, MOMENTUM, EPSILON)

    values = {"x1": functional.conv2d(into_branch, p["W1"], p["b1"], padding="same")}
    values["a1"] = normalise(values["x1"], 1)
    values["x2"] = functional.relu(values["a1"])
    values["x3"] = functional.conv2d(values["x2"], p["W2"], p["b2"], padding="same")
    values["F"] = normalise(values["x3"], 2)
    values["s"] = values["F"] + into_sum
    values["y"] = functional.relu(values["s"])
    inputs = {name: values[name] for name in ("x1", "a1", "x2", "x3", "F", "s")} | p
    inputs |= {"x0_shortcut": into_sum, "x0_branch": into_branch}
    gradients = dict(zip(inputs, torch.autograd.grad(values["y"], list(inputs.values()), dy), strict=True))
    gradients |= {"y": dy, "x0": gradients["x0_shortcut"] + gradients["x0_branch"]}
    return {name: values[name].detach() for name in FORWARD} | {name: gradients[name[1:]] for name in BACKWARD}


def _normalise(x: Tensor, p: Tensors, running: Tensors, n: int, training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return gamma x^ + beta (Ioffe and Szegedy 2015, Algorithm 1), x^ [N, C, H, W] and gamma / sigma [C].

    Updates the running statistics in training mode; with one value per channel, the running variance becomes NaN.
    """
    if training:
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        count = x.numel() / x.shape[1]
        running[f"mean{n}"].lerp_(mean, MOMENTUM)
        running[f"variance{n}"].lerp_(variance * count / (count - 1), MOMENTUM)
    else:
        mean, variance = running[f"mean{n}"], running[f"variance{n}"]
    sigma = torch.sqrt(variance + EPSILON)
    normed = (x - mean[:, None, None]).div_(sigma[:, None, None])
    gamma, beta = p[f"gamma{n}"], p[f"beta{n}"]
    return (normed * gamma[:, None, None]).add_(beta[:, None, None]), normed, gamma / sigma


def _back_through_norm(g: Tensor, normed: Tensor, scale: Tensor, training: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return dL/dx, dL/dgamma and dL/dbeta from g = dL/d(gamma x^ + beta) (Ioffe and Szegedy 2015, section 3).

    dL/dx is gamma/sigma times g in evaluation mode; in training mode g first loses its mean and its part along x^.
    """
    dgamma, dbeta, dx = (g * normed).sum((0, 2, 3)), g.sum((0, 2, 3)), g
    if training:
        count = g.numel() / g.shape[1]
        dx = (g - normed * (dgamma / count)[:, None, None]).sub_((dbeta / count)[:, None, None])
    return dx * scale[:, None, None], dgamma, dbeta
