"""The keys of a network, checked one by one and in combination."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from harness.config.blocks import BlockKind, BottleneckStride, Order
from harness.config.families import FamilyRules, rules_of, text, users_of
from harness.config.registry import FAMILY, INIT, NORM, SHORTCUT, SHORTCUT_KEYS, ChoiceError
from harness.config.validation import assign, check_member, check_real, check_whole


class Family:
    """Names of the built-in families: stem, stages and head around the blocks. Plugins register more in `FAMILY`."""

    cifar = "cifar"
    imagenet = "imagenet"
    densenet = "densenet"


@dataclass(frozen=True)
class NetworkConfig:
    """A network. If `width` or `block` is `auto`, it is resolved at construction.

    Raises ChoiceError, a ValueError, at construction for any combination that cannot be built.
    """

    depth: int = 20
    shortcut: str = "identity"
    norm: str = "batch"
    init: str = "he"
    width: int | str = "auto"
    family: str = Family.cifar
    block: BlockKind | str = "auto"
    bottleneck_stride: BottleneckStride = BottleneckStride.first
    order: Order = Order.original
    shortcut_scale: float = 0.5
    branch_scale: float = 0.5
    gate_bias: float = -6.0
    shortcut_dropout: float = 0.5
    survival: float = 1.0
    growth: int = 12

    def __post_init__(self) -> None:
        for choice in (FAMILY, SHORTCUT, NORM, INIT):
            choice.check(getattr(self, choice.key))
        check_whole("growth", self.growth, 1)
        if self.width != "auto":
            check_whole("width", self.width, 1, also="auto")
        assign(
            self,
            bottleneck_stride=check_member("bottleneck_stride", self.bottleneck_stride, BottleneckStride),
            order=check_member("order", self.order, Order),
            shortcut_scale=check_real("shortcut_scale", self.shortcut_scale),
            branch_scale=check_real("branch_scale", self.branch_scale),
            gate_bias=check_real("gate_bias", self.gate_bias),
            shortcut_dropout=check_real("shortcut_dropout", self.shortcut_dropout, least=0, below=1),
            survival=check_real("survival", self.survival, above=0, most=1),
        )
        assign(self, **self.rules.resolve(self))
        self._check_unused_keys()

    @property
    def rules(self) -> FamilyRules:
        """The rules of the network's family."""
        return rules_of(self.family)

    def _check_unused_keys(self) -> None:
        """Raise ChoiceError for a key that differs from its default but has no effect in this network."""
        used, unused = ("family", "depth", *self.rules.keys), self.rules.unused_keys(self)
        for field in fields(NetworkConfig):
            key, value = field.name, getattr(self, field.name)
            if value != field.default and (key in unused or key not in used):
                users, here = unused.get(key) or (users_of(key), f"family={self.family}")
                alternative = f", or take {users}" if "=" in users else ""
                raise ChoiceError(f"{key}={text(value)}: is for {users}, not for {here}; leave {key} out{alternative}")

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """The number of blocks in each stage; empty for a family without stages."""
        return self.rules.stage_blocks(self)

    def shortcut_settings(self) -> dict[str, float]:
        """Return the values of the keys that belong to the shortcut."""
        return {key: getattr(self, key) for key in SHORTCUT_KEYS.get(self.shortcut, ())}

    def non_default_keys(self) -> dict[str, Any]:
        """Return the keys of the network whose value differs from the one that they would have if they were not given."""
        resolved = self.rules.resolved_defaults(self)
        values = {f.name: (getattr(self, f.name), resolved.get(f.name, f.default)) for f in fields(NetworkConfig)}
        return {name: value for name, (value, default) in values.items() if value != default}
