"""Shortcuts: how a block's input meets its residual branch.

| name | He et al. 2015, section 3.3 and 4.1 | parameters |
|---|---|---|
| none | the plain net | 0 |
| identity | option A | 0 |
| projection | option B | 1x1 convolution and norm where the shape changes |
| projection_all | option C | 1x1 convolution and norm at every block |

A new shortcut is one subclass of `Shortcut` registered under its name.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from harness.choices import SHORTCUT
from harness.models.norms import make_norm, needs_bias


class Shortcut(nn.Module):
    """Joins a block's input x [B, C_in, H, W] and its residual branch [B, C_out, H/stride, W/stride].

    Subclasses define `forward(x, branch)`, the value before the block's last ReLU.
    """

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
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.out_channels - self.in_channels))


@SHORTCUT.register("none")
class NoShortcut(Shortcut):
    """The plain net: the branch alone."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


@SHORTCUT.register("identity")
class Identity(Shortcut):
    """Option A: no parameters."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch + self.match(x)


@SHORTCUT.register("projection_all")
class ProjectionAll(Shortcut):
    """Option C: a 1x1 convolution and norm at every block."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        after = make_norm(norm, out_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=needs_bias(after))
        self.norm = after

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.conv(x))
        return branch + projected


@SHORTCUT.register("projection")
class Projection(Shortcut):
    """Option B: a 1x1 convolution and norm where the shape changes, identity elsewhere."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(in_channels, out_channels, stride, norm)
        if self.changes_shape:
            after = make_norm(norm, out_channels)
            self.conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=needs_bias(after))
            self.norm = after

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.conv(x)) if self.changes_shape else x
        return branch + projected


def make_shortcut(name: str, in_channels: int, out_channels: int, stride: int, norm: str) -> Shortcut:
    made: Shortcut = SHORTCUT[name](in_channels, out_channels, stride, norm)
    return made
