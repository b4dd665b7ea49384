"""Shortcuts: how a block joins its input x and its residual branch F; h is x in the branch's shape, by option A.

| name | before the addition's ReLU | parameters | source |
|---|---|---|---|
| none | F | | the plain net |
| identity | F + h | | option A (He et al. 2015, 3.3) |
| projection | F + norm(W x), F + x | where the shape changes | option B |
| projection_all | F + norm(W x) | at every block | option C; the 1x1 convolution of He et al. 2016, Table 1 |
| scaling | b F + s h | | constant scaling (2016, Table 1) |
| exclusive_gate | g F + (1 - g) h | g's 1x1 convolution and bias, at every block | exclusive gating (ibid.) |
| shortcut_only_gate | F + (1 - g) h | the same | shortcut-only gating (ibid.) |
| dropout | F + dropout(h) | | dropout shortcut (ibid.) |

A new shortcut is one subclass of `Shortcut` registered under its name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.config.network import NetworkConfig
from harness.config.registry import SHORTCUT
from harness.models.channels_last import subsample
from harness.models.convolutions import Conv2d, convolution
from harness.models.norms import make_norm


class Shortcut(nn.Module):
    """Joins a block's input x [B, C_in, H, W] and its residual branch [B, C_out, H/stride, W/stride].

    Subclasses define `forward(x, branch)`, which returns the value before the block's last ReLU. `projects`: x passes a
    convolution on the shortcut. `passes`: x reaches the addition at all.
    """

    projects: bool = False
    passes: bool = True

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    @property
    def changes_shape(self) -> bool:
        return self.stride != 1 or self.in_channels != self.out_channels

    def match(self, x: Tensor) -> Tensor:
        """Return x in the shape of the branch by option A: every `stride`-th position, new channels zero."""
        if not self.changes_shape:
            return x
        return functional.pad(subsample(x, self.stride), (0, 0, 0, 0, 0, self.out_channels - self.in_channels))


@SHORTCUT.register("none")
class NoShortcut(Shortcut):
    """The plain net: the branch alone."""

    passes = False

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


@SHORTCUT.register("identity")
class Identity(Shortcut):
    """Option A: no parameters."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + self.match(x)


class Projecting(Shortcut):
    """An identity or, where `projects_here()`, a 1x1 convolution `conv` and its `norm`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        self.projects = self.projects_here()
        if self.projects:
            self.conv = convolution(in_channels, out_channels, 1, stride, norm)
            self.norm = make_norm(norm, out_channels)

    def projects_here(self) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.conv(x)) if self.projects else x
        return branch + projected


@SHORTCUT.register("projection")
class Projection(Projecting):
    """Option B: a projection where the shape changes, identity elsewhere."""

    def projects_here(self) -> bool:
        return self.changes_shape


@SHORTCUT.register("projection_all")
class ProjectionAll(Projecting):
    """Option C: a projection at every block."""

    def projects_here(self) -> bool:
        return True


@SHORTCUT.register("scaling")
class Scaling(Shortcut):
    """Constant scaling of both paths (He et al. 2016, 3.1)."""

    def __init__(self, *args: Any, shortcut_scale: float, branch_scale: float) -> None:
        super().__init__(*args)
        self.shortcut_scale, self.branch_scale = shortcut_scale, branch_scale

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return self.branch_scale * branch + self.shortcut_scale * self.match(x)


class Gate(Conv2d):
    """The 1x1 convolution before a gate's sigmoid; its bias starts at `initial_bias` (He et al. 2016, 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, initial_bias: float) -> None:
        super().__init__(in_channels, out_channels, 1, stride)
        self.initial_bias = initial_bias


class Gated(Shortcut):
    """A shortcut with the gate g(x) = sigmoid(W x + b), one value for each channel and position of the branch."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str, gate_bias: float) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        self.gate = Gate(in_channels, out_channels, stride, gate_bias)


@SHORTCUT.register("exclusive_gate")
class ExclusiveGate(Gated):
    """The gate g scales the branch, 1 - g the shortcut, as in a highway net."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * branch + (1 - gate) * self.match(x)


@SHORTCUT.register("shortcut_only_gate")
class ShortcutOnlyGate(Gated):
    """The gate scales only the shortcut, by 1 - g."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + (1 - torch.sigmoid(self.gate(x))) * self.match(x)


@SHORTCUT.register("dropout")
class Dropout(Shortcut):
    """Dropout on the output of the identity shortcut (He et al. 2016, 3.1); kept values are divided by 1 - rate."""

    def __init__(self, *args: Any, shortcut_dropout: float) -> None:
        super().__init__(*args)
        self.rate = shortcut_dropout

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + functional.dropout(self.match(x), self.rate, self.training)


@SHORTCUT.register("concatenation")
class Concatenation(Shortcut):
    """The channels of input and branch, concatenated (Huang et al. 2017, eq. 2)."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return torch.cat([x, branch], dim=1)


def make_shortcut(config: NetworkConfig, in_channels: int, out_channels: int, stride: int) -> Shortcut:
    """Return the shortcut that `config` names, with the values of its keys."""
    shortcut_class = SHORTCUT[config.shortcut]
    shortcut: Shortcut = shortcut_class(in_channels, out_channels, stride, config.norm, **config.shortcut_settings())
    return shortcut
