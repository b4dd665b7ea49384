"""What a network is asked to be: family, depth, block, shortcut and the rest, each combination checked.

| family | block | depth | source |
|---|---|---|---|
| cifar | basic | 6n+2: 20, 32, 44, 56, 110, 1202 | He et al. 2015, 4.2 |
| cifar | bottleneck | 9n+2: 164, 1001 | He et al. 2016, 5 |
| imagenet | basic | 18, 34 | He et al. 2015, Table 1 |
| imagenet | bottleneck | 50, 101, 152 | He et al. 2015, Table 1 |
| densenet | dense | 6n+4: 100 | Huang et al. 2017, 3 and 4 (DenseNet-BC) |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, NamedTuple, cast

from harness.config.registry import FAMILY, INIT, NORM, SHORTCUT, ChoiceError, shown, unknown
from harness.config.validation import assign, member, real, whole


class Family:
    """The built-in families: stem, stages and head around the blocks. A plugin adds names with `FAMILY.register`."""

    cifar = "cifar"
    imagenet = "imagenet"
    densenet = "densenet"


class BlockKind(str, Enum):
    """The layers of a block: two 3x3; 1x1, 3x3 and 1x1; the dense layer of DenseNet-BC, 1x1 and 3x3."""

    basic = "basic"
    bottleneck = "bottleneck"
    dense = "dense"


class Order(str, Enum):
    """Where norm and ReLU stand in a block (He et al. 2016, Fig. 4 a to e)."""

    original = "original"
    bn_after_addition = "bn_after_addition"
    relu_before_addition = "relu_before_addition"
    relu_only_preactivation = "relu_only_preactivation"
    preactivation = "preactivation"


class BottleneckStride(str, Enum):
    """The convolution of a bottleneck that halves the map: the first 1x1 (the paper's) or the 3x3 (later code's)."""

    first = "first"
    middle = "middle"


class Form(NamedTuple):
    """Depths step * n + rest, n from 1 on: three stages of n blocks each."""

    step: int
    rest: int

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        n, left = divmod(depth - self.rest, self.step)
        return (n,) * 3 if n >= 1 and not left else None

    def around(self, depth: int) -> list[int]:
        below = (depth - self.rest) // self.step * self.step + self.rest
        return [near for near in (below, below + self.step) if near >= self.step + self.rest] or [self.step + self.rest]

    def __str__(self) -> str:
        return f"{self.step}n+{self.rest}"


class Listed(dict[int, tuple[int, ...]]):
    """Depths that a paper lists, with the number of blocks of each stage."""

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        return self.get(depth)

    def around(self, depth: int) -> list[int]:
        return sorted(self, key=lambda near: abs(near - depth))[:2]

    def __str__(self) -> str:
        return " or ".join(map(str, self))


DEPTHS: Mapping[tuple[str, BlockKind], Form | Listed] = {
    (Family.cifar, BlockKind.basic): Form(6, 2),
    (Family.cifar, BlockKind.bottleneck): Form(9, 2),
    (Family.imagenet, BlockKind.basic): Listed({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}),
    (Family.imagenet, BlockKind.bottleneck): Listed({50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
    (Family.densenet, BlockKind.dense): Form(6, 4),
}
WIDTH: Mapping[str, int] = {Family.cifar: 16, Family.imagenet: 64}
"""Channels of the first stage (of a bottleneck's narrow part), where width=auto."""

SHORTCUT_KEYS: Mapping[str, tuple[str, ...]] = {
    "scaling": ("shortcut_scale", "branch_scale"),
    "exclusive_gate": ("gate_bias",),
    "shortcut_only_gate": ("gate_bias",),
    "dropout": ("shortcut_dropout",),
}
"""The keys that belong to a shortcut: its class gets their values, and no other shortcut may be given them."""


def applies(key: str, shortcut: str) -> bool:
    """Return whether a key does anything in nets with this shortcut, as far as SHORTCUT_KEYS says."""
    users = [name for name, keys in SHORTCUT_KEYS.items() if key in keys]
    return not users or shortcut in users


@dataclass(frozen=True)
class NetworkConfig:
    """A network. Raises ChoiceError (a ValueError) at construction for any combination that cannot be built.

    `width` and `block` follow family and depth where they are `auto`, and hold what was found from then on.
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
        FAMILY.check(self.family)
        SHORTCUT.check(self.shortcut)
        NORM.check(self.norm)
        INIT.check(self.init)
        whole("growth", self.growth, 1)
        if self.width != "auto":
            whole("width", self.width, 1, also="auto")
        assign(
            self,
            bottleneck_stride=member("bottleneck_stride", self.bottleneck_stride, BottleneckStride),
            order=member("order", self.order, Order),
            shortcut_scale=real("shortcut_scale", self.shortcut_scale),
            branch_scale=real("branch_scale", self.branch_scale),
            gate_bias=real("gate_bias", self.gate_bias),
            shortcut_dropout=real("shortcut_dropout", self.shortcut_dropout, least=0, below=1),
            survival=real("survival", self.survival, above=0, most=1),
        )
        if self.is_plugin_family:
            self._check_plugin_family()
            return
        assign(self, block=_block_for(self.family, self.depth, self.block))
        if self.family == Family.densenet:
            self._settle_densenet()
        elif self.width == "auto":
            assign(self, width=WIDTH[self.family])
        self._check_idle_keys()

    @property
    def is_plugin_family(self) -> bool:
        """Whether a plugin builds the network."""
        return self.family not in FAMILY.built_in

    def _check_plugin_family(self) -> None:
        """Refuse keys that the plugin's family does not name in its attribute `keys`."""
        whole("depth", self.depth, 1)
        used = ("depth", "family", *getattr(FAMILY[self.family], "keys", ()))
        for field in fields(NetworkConfig):
            if field.name not in used:
                self._idle(field.name, "other families", f"family={self.family}")

    def _settle_densenet(self) -> None:
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

    def _check_idle_keys(self) -> None:
        """Refuse keys that were given a value and would do nothing."""
        if self.shortcut == "concatenation" and self.family != Family.densenet:
            raise ChoiceError(f"shortcut=concatenation: only in family densenet, not {self.family}; nearest is identity")
        for key in sorted({key for keys in SHORTCUT_KEYS.values() for key in keys}):
            if not applies(key, self.shortcut):
                users = [name for name, keys in SHORTCUT_KEYS.items() if key in keys]
                self._idle(key, f"shortcut={' or '.join(users)}", f"shortcut={self.shortcut}")
        if self.block is not BlockKind.bottleneck:
            block = cast(BlockKind, self.block).value
            self._idle("bottleneck_stride", "block=bottleneck", f"block={block}")
        if self.family != Family.densenet:
            self._idle("growth", "family=densenet", f"family={self.family}")
        else:
            self._idle("order", "family=cifar or imagenet", "family=densenet, which has an order of its own")
            self._idle("survival", "nets with a residual branch to leave out", "family=densenet")
        if self.shortcut == "none":
            self._idle("survival", "nets with shortcuts", "shortcut=none: without its branch a plain block passes nothing on")

    def _idle(self, key: str, users: str, here: str) -> None:
        value, default = getattr(self, key), _default(key)
        if value != default:
            instead = f", or take {users}" if "=" in users else ""
            raise ChoiceError(f"{key}={_word(value)}: is for {users}, not for {here}; leave {key} out{instead}")

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """The number of blocks in each stage; empty for a plugin's family."""
        if self.is_plugin_family:
            return ()
        return DEPTHS[self.family, cast(BlockKind, self.block)].stage_blocks(self.depth) or ()

    def check_images(self, side: int, batch_size: int) -> None:
        """Raise ChoiceError where images of `side` pixels, or so few of them, are too small for the net to be trained on."""
        if self.is_plugin_family:
            return
        halvings = {Family.cifar: 2, Family.imagenet: 5, Family.densenet: 2}[self.family]
        if self.family == Family.densenet and side < 2**halvings:
            raise ChoiceError(f"family=densenet: images of {side}x{side} are too small; the least is {2**halvings}x{2**halvings}")
        last = side // 2**halvings if self.family == Family.densenet else -(-side // 2**halvings)
        if self.norm == "batch" and batch_size * last * last < 2:
            raise ChoiceError(
                f"schedule.batch_size={batch_size}: batch normalisation needs two values a channel, and after family "
                f"{self.family} an image of {side}x{side} is one; nearest is schedule.batch_size=2"
            )

    def check_extends(self, depth: int) -> None:
        """Raise ChoiceError where this net is not that of `depth` layers and, after it in each stage, blocks of identity."""
        given = f"start_from={depth}"
        if self.is_plugin_family:
            raise ChoiceError(f"{given}: is for built-in families, not for family={self.family}; nearest is none")
        depths = DEPTHS[self.family, cast(BlockKind, self.block)]
        if self.family == Family.densenet:
            raise ChoiceError(f"{given}: each layer of family densenet adds channels, none is the identity; nearest is none")
        kinds = {
            "norm": (self.norm, ("batch", "none"), ""),
            "order": (self.order.value, ("original",), ", where a block's input is nowhere negative"),
            "shortcut": (self.shortcut, ("none", "identity", "projection"), ""),
            "survival": (_word(self.survival), ("1",), ": what a block weighs in evaluation changes with the depth"),
        }
        for key, (value, possible, why) in kinds.items():
            if value not in possible:
                raise ChoiceError(f"{given}: is for {key}={' or '.join(possible)}{why}, not for {key}={value}")
        if self.shortcut == "none" and self.block is BlockKind.bottleneck:
            raise ChoiceError(
                f"{given}: a plain bottleneck block is narrow inside, so never the identity; nearest is block=basic"
            )
        if depth >= self.depth or not depths.stage_blocks(depth):
            lower = [near for near in depths.around(min(depth, self.depth - 1)) if near < self.depth]
            near = " and ".join(map(str, sorted(lower))) or "none"
            be = "are" if len(lower) > 1 else "is"
            raise ChoiceError(f"{given}: must be a depth of the same kind below depth={self.depth}; nearest {be} {near}")

    def shortcut_settings(self) -> dict[str, float]:
        """Return the values of the keys that belong to the shortcut."""
        return {key: getattr(self, key) for key in SHORTCUT_KEYS.get(self.shortcut, ())}

    def chosen(self) -> dict[str, Any]:
        """Return the keys of the network that are not what they would be if they had not been given."""
        followed: dict[str, Any] = {} if self.is_plugin_family else {"width": WIDTH.get(self.family, 2 * self.growth)}
        if self.family == Family.densenet:
            followed["shortcut"] = "concatenation"
        if not self.is_plugin_family:
            followed["block"] = BlockKind.basic if self.family == Family.cifar else self.block
        values = {f.name: (getattr(self, f.name), followed.get(f.name, f.default)) for f in fields(NetworkConfig)}
        return {name: value for name, (value, default) in values.items() if value != default}


def _block_for(family: str, depth: object, given: object) -> BlockKind:
    """Return the kind of block; raises ChoiceError where family, depth and block do not fit."""
    whole("depth", depth, None)
    number = cast(int, depth)
    depths = {kind: of for (home, kind), of in DEPTHS.items() if home == family}
    kinds = [kind.value for kind in depths]
    if given != "auto" and given not in kinds:
        if given in [kind.value for kind in BlockKind]:
            raise ChoiceError(f"block={_word(given)}: family {family} has {' or '.join(kinds)} blocks; nearest is block=auto")
        raise unknown("block", given, ["auto", *kinds])
    asked = list(depths) if given == "auto" else [BlockKind(given)]
    fitting = [kind for kind in asked if depths[kind].stage_blocks(number)]
    if family == Family.cifar and given == "auto":
        asked = [BlockKind.basic]  # also where 9n+2 would fit, so that a sweep of depths keeps its block
        fitting = [kind for kind in fitting if kind in asked]
    if fitting:
        return fitting[0]
    whose = "this family has depth" if given == "auto" else f"{_word(given)} blocks of family {family} have depth"
    near = sorted({one for kind in asked for one in depths[kind].around(number)}, key=lambda one: (abs(one - number), one))[:2]
    others = [kind for kind in depths if kind not in asked and depths[kind].stage_blocks(number)]
    instead = f", or block={others[0].value}" if others else ""
    rules = " or ".join(str(depths[kind]) for kind in asked)
    nearest = f"nearest {'are' if len(near) > 1 else 'is'} {' and '.join(map(str, sorted(near)))}"
    raise ChoiceError(f"depth={depth}: {whose} {rules}; {nearest}{instead}")


def _default(key: str) -> Any:
    return next(f.default for f in fields(NetworkConfig) if f.name == key)


def _word(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else shown(value)
