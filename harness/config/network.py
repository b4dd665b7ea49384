"""The keys of a network, checked one by one and in combination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, NamedTuple, cast

from harness.config.registry import FAMILY, INIT, NORM, SHORTCUT, ChoiceError, shown, unknown
from harness.config.validation import assign, check_member, check_real, check_whole


class Family:
    """Names of the built-in families: stem, stages and head around the blocks. Plugins register more in `FAMILY`."""

    cifar = "cifar"
    imagenet = "imagenet"
    densenet = "densenet"


class BlockKind(str, Enum):
    """The convolutions of a block: two 3x3; 1x1, 3x3 and 1x1; those of a dense layer of DenseNet-BC, 1x1 and 3x3."""

    basic = "basic"
    bottleneck = "bottleneck"
    dense = "dense"


class Order(str, Enum):
    """The order of norm, ReLU and addition in a block (He et al. 2016, Fig. 4 a to e)."""

    original = "original"
    bn_after_addition = "bn_after_addition"
    relu_before_addition = "relu_before_addition"
    relu_only_preactivation = "relu_only_preactivation"
    preactivation = "preactivation"


class BottleneckStride(str, Enum):
    """The strided convolution of a bottleneck: the first 1x1 (as in the paper) or the 3x3 (as in later code)."""

    first = "first"
    middle = "middle"


class DepthFormula(NamedTuple):
    """Depths step * n + rest, for n of at least 1: three stages of n blocks each."""

    step: int
    rest: int

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        """Return the number of blocks of each stage; None for a depth that does not exist."""
        n, left = divmod(depth - self.rest, self.step)
        return (n,) * 3 if n >= 1 and not left else None

    def nearest(self, depth: int) -> list[int]:
        """Return the one or two nearest depths that exist."""
        below = (depth - self.rest) // self.step * self.step + self.rest
        least = self.step + self.rest
        return [near for near in (below, below + self.step) if near >= least] or [least]

    def __str__(self) -> str:
        return f"{self.step}n+{self.rest}"


class DepthTable(dict[int, tuple[int, ...]]):
    """Depths listed in a paper, with the number of blocks of each stage."""

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        return self.get(depth)

    def nearest(self, depth: int) -> list[int]:
        return sorted(self, key=lambda near: abs(near - depth))[:2]

    def __str__(self) -> str:
        return " or ".join(map(str, self))


DEPTHS: Mapping[tuple[str, BlockKind], DepthFormula | DepthTable] = {
    (Family.cifar, BlockKind.basic): DepthFormula(6, 2),  # 20, 32, 44, 56, 110, 1202: He et al. 2015, 4.2
    (Family.cifar, BlockKind.bottleneck): DepthFormula(9, 2),  # 164, 1001: He et al. 2016, 5
    (Family.imagenet, BlockKind.basic): DepthTable({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}),  # He et al. 2015, Table 1
    (Family.imagenet, BlockKind.bottleneck): DepthTable({50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),  # the same
    (Family.densenet, BlockKind.dense): DepthFormula(6, 4),  # 100: Huang et al. 2017, 3 and 4 (DenseNet-BC)
}
WIDTH: Mapping[str, int] = {Family.cifar: 16, Family.imagenet: 64}
"""Channels of the first stage (of the narrow part of a bottleneck) with width=auto."""

SHORTCUT_KEYS: Mapping[str, tuple[str, ...]] = {
    "scaling": ("shortcut_scale", "branch_scale"),
    "exclusive_gate": ("gate_bias",),
    "shortcut_only_gate": ("gate_bias",),
    "dropout": ("shortcut_dropout",),
}
"""The keys of each shortcut: arguments of its class, and refused with other shortcuts."""


def shortcuts_with(key: str) -> list[str]:
    """Return the built-in shortcuts to which a key belongs."""
    return [shortcut for shortcut, keys in SHORTCUT_KEYS.items() if key in keys]


def applies(key: str, shortcut: str) -> bool:
    """Return whether a key has an effect in networks with this shortcut."""
    return shortcut in (shortcuts_with(key) or [shortcut])


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
        if self.is_plugin_family:
            self._check_plugin_family()
            return
        assign(self, block=_resolve_block(self.family, self.depth, self.block))
        if self.family == Family.densenet:
            self._resolve_densenet()
        elif self.width == "auto":
            assign(self, width=WIDTH[self.family])
        self._check_unused_keys()

    @property
    def is_plugin_family(self) -> bool:
        """Whether a plugin builds the network."""
        return self.family not in FAMILY.built_in

    def _check_plugin_family(self) -> None:
        """Refuse keys that the plugin's family does not name in its attribute `keys`."""
        check_whole("depth", self.depth, 1)
        used = ("depth", "family", *getattr(FAMILY[self.family], "keys", ()))
        for field in fields(NetworkConfig):
            if field.name not in used:
                self._refuse(field.name, "other families", f"family={self.family}")

    def _resolve_densenet(self) -> None:
        if self.shortcut not in ("identity", "concatenation"):
            raise ChoiceError(
                f"shortcut={self.shortcut}: family densenet joins its layers by concatenation; nearest is shortcut=concatenation"
            )
        if self.width not in ("auto", 2 * self.growth):
            raise ChoiceError(
                f"width={self.width}: family densenet is sized by growth={self.growth}, its stem has twice that; "
                f"nearest are width=auto and growth={max(1, cast(int, self.width) // 2)}"
            )
        assign(self, shortcut="concatenation", width=2 * self.growth)

    def _check_unused_keys(self) -> None:
        """Refuse keys that differ from their default but have no effect in this network."""
        if self.shortcut == "concatenation" and self.family != Family.densenet:
            raise ChoiceError(f"shortcut=concatenation: only in family densenet, not {self.family}; nearest is identity")
        for key in ("branch_scale", "gate_bias", "shortcut_dropout", "shortcut_scale"):
            if not applies(key, self.shortcut):
                self._refuse(key, f"shortcut={' or '.join(shortcuts_with(key))}", f"shortcut={self.shortcut}")
        if self.block is not BlockKind.bottleneck:
            self._refuse("bottleneck_stride", "block=bottleneck", f"block={_text(self.block)}")
        if self.family != Family.densenet:
            self._refuse("growth", "family=densenet", f"family={self.family}")
        else:
            self._refuse("order", "family=cifar or imagenet", "family=densenet, which has an order of its own")
            self._refuse("survival", "nets with a residual branch to leave out", "family=densenet")
        if self.shortcut == "none":
            self._refuse("survival", "nets with shortcuts", "shortcut=none: without its branch a plain block passes nothing on")

    def _refuse(self, key: str, users: str, here: str) -> None:
        """Raise ChoiceError if the key differs from its default; `users` have the key, and `here` says what has not."""
        value = getattr(self, key)
        if value != getattr(NetworkConfig, key):
            alternative = f", or take {users}" if "=" in users else ""
            raise ChoiceError(f"{key}={_text(value)}: is for {users}, not for {here}; leave {key} out{alternative}")

    @property
    def _depths(self) -> DepthFormula | DepthTable:
        return DEPTHS[self.family, cast(BlockKind, self.block)]

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """The number of blocks in each stage; empty for a plugin's family."""
        return () if self.is_plugin_family else self._depths.stage_blocks(self.depth) or ()

    def check_images(self, side: int, batch_size: int) -> None:
        """Raise ChoiceError if images of `side` pixels, or so small a batch of them, cannot be trained on."""
        if self.is_plugin_family:
            return
        shrinking = 2 ** (5 if self.family == Family.imagenet else 2)
        if self.family == Family.densenet and side < shrinking:
            raise ChoiceError(f"family=densenet: images of {side}x{side} are too small; the least is {shrinking}x{shrinking}")
        last = side // shrinking if self.family == Family.densenet else -(-side // shrinking)
        if self.norm == "batch" and batch_size * last * last < 2:
            raise ChoiceError(
                f"schedule.batch_size={batch_size}: batch normalisation needs two values a channel, and after family "
                f"{self.family} an image of {side}x{side} is one; nearest is schedule.batch_size=2"
            )

    def check_extends(self, depth: int) -> None:
        """Raise ChoiceError unless this network is that of `depth` layers with blocks appended that can be the identity."""
        given = f"start_from={depth}"
        if self.is_plugin_family:
            raise ChoiceError(f"{given}: is for built-in families, not for family={self.family}; nearest is none")
        if self.family == Family.densenet:
            raise ChoiceError(f"{given}: each layer of family densenet adds channels, none is the identity; nearest is none")
        requirements = {
            "norm": (self.norm, ("batch", "none"), ""),
            "order": (self.order.value, ("original",), ", where a block's input is nowhere negative"),
            "shortcut": (self.shortcut, ("none", "identity", "projection"), ""),
            "survival": (_text(self.survival), ("1",), ": what a block weighs in evaluation changes with the depth"),
        }
        for key, (value, possible, why) in requirements.items():
            if value not in possible:
                raise ChoiceError(f"{given}: is for {key}={' or '.join(possible)}{why}, not for {key}={value}")
        if self.shortcut == "none" and self.block is BlockKind.bottleneck:
            raise ChoiceError(
                f"{given}: a plain bottleneck block is narrow inside, so never the identity; nearest is block=basic"
            )
        if depth >= self.depth or not self._depths.stage_blocks(depth):
            lower = [near for near in self._depths.nearest(min(depth, self.depth - 1)) if near < self.depth]
            raise ChoiceError(f"{given}: must be a depth of the same kind below depth={self.depth}; {_nearest(lower)}")

    def shortcut_settings(self) -> dict[str, float]:
        """Return the values of the keys that belong to the shortcut."""
        return {key: getattr(self, key) for key in SHORTCUT_KEYS.get(self.shortcut, ())}

    def non_default_keys(self) -> dict[str, Any]:
        """Return the keys of the network whose value differs from the one that they would have if they were not given."""
        resolved: dict[str, Any] = {"shortcut": "concatenation"} if self.family == Family.densenet else {}
        if not self.is_plugin_family:
            resolved["width"] = WIDTH.get(self.family, 2 * self.growth)
            resolved["block"] = BlockKind.basic if self.family == Family.cifar else self.block
        values = {f.name: (getattr(self, f.name), resolved.get(f.name, f.default)) for f in fields(NetworkConfig)}
        return {name: value for name, (value, default) in values.items() if value != default}


def _resolve_block(family: str, depth: object, given: object) -> BlockKind:
    """Return the kind of block; raises ChoiceError if family, depth and block do not fit."""
    check_whole("depth", depth, None)
    number = cast(int, depth)
    depths = {kind: rule for (name, kind), rule in DEPTHS.items() if name == family}
    names = [kind.value for kind in depths]
    if given != "auto" and given not in names:
        if given in [kind.value for kind in BlockKind]:
            raise ChoiceError(f"block={_text(given)}: family {family} has {' or '.join(names)} blocks; nearest is block=auto")
        raise unknown("block", given, ["auto", *names])
    kinds = list(depths) if given == "auto" else [BlockKind(given)]
    if family == Family.cifar and given == "auto":
        kinds = [BlockKind.basic]  # also where 9n+2 would fit, so that a sweep of depths keeps its block
    if fitting := [kind for kind in kinds if depths[kind].stage_blocks(number)]:
        return fitting[0]
    subject = "this family has depth" if given == "auto" else f"{_text(given)} blocks of family {family} have depth"
    rules = " or ".join(str(depths[kind]) for kind in kinds)
    candidates = {near for kind in kinds for near in depths[kind].nearest(number)}
    others = [kind for kind in depths if kind not in kinds and depths[kind].stage_blocks(number)]
    alternative = f", or block={others[0].value}" if others else ""
    near = _nearest(sorted(candidates, key=lambda near: (abs(near - number), near))[:2])
    raise ChoiceError(f"depth={depth}: {subject} {rules}; {near}{alternative}")


def _nearest(depths: list[int]) -> str:
    return f"nearest {'are' if len(depths) > 1 else 'is'} {' and '.join(map(str, sorted(depths))) or 'none'}"


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else shown(value)
