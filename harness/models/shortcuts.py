"""Shortcuts: how a block joins its input x and its residual branch F; h is x in the branch's shape, by option A.

Options A, B and C are from He et al. 2015, 3.3; the other shortcuts are from He et al. 2016, 3.1 and Table 1, unless they name
another source. A new shortcut is one subclass of `Shortcut` registered under its name.
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
    """F: the plain net."""

    passes = False

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


@SHORTCUT.register("identity")
class Identity(Shortcut):
    """F + h: option A, without parameters."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + self.match(x)


@SHORTCUT.register("projection")
class Projection(Shortcut):
    """F + norm(W x), a 1x1 convolution and its norm, where the shape changes; F + x elsewhere: option B."""

    everywhere = False

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        self.projects = self.everywhere or self.changes_shape
        if self.projects:
            self.conv = convolution(in_channels, out_channels, 1, stride, norm)
            self.norm = make_norm(norm, out_channels)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.conv(x)) if self.projects else x
        return branch + projected


@SHORTCUT.register("projection_all")
class ProjectionAll(Projection):
    """F + norm(W x) at every block: option C; the 1x1 convolution of He et al. 2016, Table 1."""

    everywhere = True


@SHORTCUT.register("scaling")
class Scaling(Shortcut):
    """b F + s h: constant scaling by b = branch_scale and s = shortcut_scale."""

    def __init__(self, *args: Any, shortcut_scale: float, branch_scale: float) -> None:
        super().__init__(*args)
        self.shortcut_scale, self.branch_scale = shortcut_scale, branch_scale

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return self.branch_scale * branch + self.shortcut_scale * self.match(x)


class Gate(Conv2d):
    """The 1x1 convolution before a gate's sigmoid; its bias starts at `initial_bias`."""

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
    """g F + (1 - g) h: exclusive gating, as in a highway net."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * branch + (1 - gate) * self.match(x)


@SHORTCUT.register("shortcut_only_gate")
class ShortcutOnlyGate(Gated):
    """F + (1 - g) h: shortcut-only gating."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + (1 - torch.sigmoid(self.gate(x))) * self.match(x)


@SHORTCUT.register("dropout")
class Dropout(Shortcut):
    """F + dropout(h): dropout shortcut; kept values are divided by 1 - rate."""

    def __init__(self, *args: Any, shortcut_dropout: float) -> None:
        super().__init__(*args)
        self.rate = shortcut_dropout

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + functional.dropout(self.match(x), self.rate, self.training)


@SHORTCUT.register("concatenation")
class Concatenation(Shortcut):
    """The channels of x, then those of F (Huang et al. 2017, eq. 2)."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return torch.cat([x, branch], dim=1)


def make_shortcut(config: NetworkConfig, in_channels: int, out_channels: int, stride: int) -> Shortcut:
    """Return the shortcut that `config` names, with the values of its keys."""
    settings = config.shortcut_settings()
    shortcut: Shortcut = SHORTCUT[config.shortcut](in_channels, out_channels, stride, config.norm, **settings)
    return shortcut
