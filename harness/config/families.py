"""The rules of each family of networks: the keys that it uses, its depths, the images that it takes, a bound of its size.

The module that builds a family's network imports torch and registers itself in `harness.config.registry.FAMILY`. The rules are
here, so that a config can be checked without torch. A plugin's family has plain `FamilyRules`, or those in the attribute `rules`
of the function or class that it registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from harness.config.blocks import BlockKind, applies, shortcuts_with
from harness.config.depths import DepthFormula, DepthTable, nearest_text
from harness.config.registry import FAMILY, SHORTCUT_KEYS, ChoiceError, shown, unknown
from harness.config.validation import check_whole

if TYPE_CHECKING:
    from harness.config.network import NetworkConfig


class StageSize(NamedTuple):
    """A stage: the outputs of blocks that it keeps, all weights of its convolutions, its output's channels, the halvings of the
    side up to it.
    """

    outputs: int
    weights: int
    channels: int
    halvings: int


@dataclass(frozen=True, kw_only=True)
class FamilyRules:
    """The rules of a family of any depth, for images of any size. Families with more rules are subclasses.

    Args:
        keys: the keys of `NetworkConfig`, beside `family` and `depth`, that the family uses. Any other key is refused.
        images: channels, side in pixels and classes of the images for which `harness.describe` describes a network.
    """

    keys: tuple[str, ...] = ()
    images: tuple[int, int, int] = (3, 32, 10)
    staged: ClassVar[bool] = False
    """Whether the networks are stages of blocks, which support activation checkpointing."""
    has_plain_twin: ClassVar[bool] = False
    """Whether the blocks keep their shapes with shortcut=none."""

    def resolve(self, config: NetworkConfig) -> Mapping[str, Any]:
        """Return the values of the keys that were given as `auto`. Raises ChoiceError for keys that do not fit."""
        check_whole("depth", config.depth, 1)
        return {}

    def unused_keys(self, config: NetworkConfig) -> Mapping[str, tuple[str, str]]:
        """Return the keys of the family without effect in this network: where they have one, and what this network is."""
        return {}

    def resolved_defaults(self, config: NetworkConfig) -> Mapping[str, Any]:
        """Return the values of the keys that are resolved, if they are not given."""
        return {}

    def stage_blocks(self, config: NetworkConfig) -> tuple[int, ...]:
        """Return the number of blocks in each stage; empty if the family has no stages."""
        return ()

    def repeating_depths(self, config: NetworkConfig) -> DepthFormula | None:
        """Return the formula of the depths if each stage repeats one block, so that shallow nets tell all of a deep one."""
        return None

    def sizes(self, config: NetworkConfig) -> Iterator[StageSize]:
        """Yield the size of each stage, for a lower bound of the network's size."""
        return iter(())

    def check_images(self, config: NetworkConfig, side: int, batch_size: int) -> None:
        """Raise ChoiceError if images of `side` pixels, or so small a batch of them, cannot be trained on."""

    def check_extends(self, config: NetworkConfig, depth: int) -> None:
        """Raise ChoiceError unless the network is that of `depth` layers with blocks appended that can be the identity."""
        raise ChoiceError(f"start_from={depth}: family {config.family} has no blocks that can be the identity; nearest is none")


@dataclass(frozen=True, kw_only=True)
class StagedRules(FamilyRules):
    """The rules of a family of stages of blocks, each stage at half the side of the one before.

    Args:
        depths: the depths that exist with each kind of block.
        default_block: the kind of block of `block=auto`; None for the first kind that has the depth.
        stem_halvings: halvings of the side before the first stage.
    """

    depths: Mapping[BlockKind, DepthFormula | DepthTable]
    default_block: BlockKind | None = None
    stem_halvings: int = 0
    staged: ClassVar[bool] = True

    def stage_blocks(self, config: NetworkConfig) -> tuple[int, ...]:
        return self.depths[cast(BlockKind, config.block)].stage_blocks(config.depth) or ()

    def check_images(self, config: NetworkConfig, side: int, batch_size: int) -> None:
        last = self.last_side(side, 2 ** (self.stem_halvings + len(self.stage_blocks(config)) - 1))
        if config.norm == "batch" and batch_size * last * last < 2:
            raise ChoiceError(
                f"schedule.batch_size={batch_size}: batch normalisation needs two values a channel, and after family "
                f"{config.family} an image of {side}x{side} is one; nearest is schedule.batch_size=2"
            )

    def last_side(self, side: int, shrinking: int) -> int:
        """Return the side of the last stage's output, `shrinking` times smaller than that of the images."""
        return -(-side // shrinking)

    def resolve_block(self, config: NetworkConfig) -> BlockKind:
        """Return the kind of block. Raises ChoiceError if depth and block do not fit."""
        check_whole("depth", config.depth, None)
        given, names = config.block, [kind.value for kind in self.depths]
        if given != "auto" and given not in names:
            if given in [kind.value for kind in BlockKind]:
                names_text = " or ".join(names)
                raise ChoiceError(f"block={text(given)}: family {config.family} has {names_text} blocks; nearest is block=auto")
            raise unknown("block", given, ["auto", *names])
        kinds = list(self.depths) if given == "auto" else [BlockKind(given)]
        if given == "auto" and self.default_block:
            kinds = [self.default_block]  # also where another kind would fit, so that a sweep of depths keeps its block
        if fitting := [kind for kind in kinds if self.depths[kind].stage_blocks(config.depth)]:
            return fitting[0]
        raise self._wrong_depth(config, kinds)

    def _wrong_depth(self, config: NetworkConfig, kinds: list[BlockKind]) -> ChoiceError:
        depth, given, depths = config.depth, config.block, self.depths
        subject = "this family has depth" if given == "auto" else f"{text(given)} blocks of family {config.family} have depth"
        rules = " or ".join(str(depths[kind]) for kind in kinds)
        candidates = {near for kind in kinds for near in depths[kind].nearest(depth)}
        near = nearest_text(sorted(candidates, key=lambda near: (abs(near - depth), near))[:2])
        others = [kind.value for kind in depths if kind not in kinds and depths[kind].stage_blocks(depth)]
        alternative = f", or block={others[0]}" if others else ""
        return ChoiceError(f"depth={depth}: {subject} {rules}; {near}{alternative}")


@dataclass(frozen=True, kw_only=True)
class ResidualRules(StagedRules):
    """The rules of plain and residual nets.

    Args:
        width: channels of the first stage, of the narrow part of a bottleneck, with width=auto.
    """

    width: int
    has_plain_twin: ClassVar[bool] = True

    def resolve(self, config: NetworkConfig) -> Mapping[str, Any]:
        if config.shortcut == "concatenation":
            raise ChoiceError(f"shortcut=concatenation: only in family densenet, not {config.family}; nearest is identity")
        return {"block": self.resolve_block(config), "width": self.width if config.width == "auto" else config.width}

    def resolved_defaults(self, config: NetworkConfig) -> Mapping[str, Any]:
        return {"block": self.default_block or config.block, "width": self.width}

    def unused_keys(self, config: NetworkConfig) -> Mapping[str, tuple[str, str]]:
        unused = {
            key: (f"shortcut={' or '.join(shortcuts_with(key))}", f"shortcut={config.shortcut}")
            for keys in SHORTCUT_KEYS.values()
            for key in keys
            if not applies(key, config.shortcut)
        }
        if config.block is not BlockKind.bottleneck:
            unused["bottleneck_stride"] = ("block=bottleneck", f"block={text(config.block)}")
        if config.shortcut == "none":
            unused["survival"] = ("nets with shortcuts", "shortcut=none: without its branch a plain block passes nothing on")
        return unused

    def repeating_depths(self, config: NetworkConfig) -> DepthFormula | None:
        depths = self.depths[cast(BlockKind, config.block)]
        return depths if isinstance(depths, DepthFormula) else None

    def sizes(self, config: NetworkConfig) -> Iterator[StageSize]:
        for number, count in enumerate(self.stage_blocks(config)):
            width, halvings = cast(int, config.width) * 2**number, number + self.stem_halvings
            if config.block is BlockKind.bottleneck:  # the first block's input is narrower
                yield StageSize(count, (count * (4 + 9 + 4) - 3) * width**2, 4 * width, halvings)
            else:
                yield StageSize(count, (count * 2 * 18 - 9) * width**2 // 2, width, halvings)

    def check_extends(self, config: NetworkConfig, depth: int) -> None:
        given = f"start_from={depth}"
        requirements = {
            "norm": (config.norm, ("batch", "none"), ""),
            "order": (config.order.value, ("original",), ", where a block's input is nowhere negative"),
            "shortcut": (config.shortcut, ("none", "identity", "projection"), ""),
            "survival": (text(config.survival), ("1",), ": what a block weighs in evaluation changes with the depth"),
        }
        for key, (value, possible, why) in requirements.items():
            if value not in possible:
                raise ChoiceError(f"{given}: is for {key}={' or '.join(possible)}{why}, not for {key}={value}")
        if config.shortcut == "none" and config.block is BlockKind.bottleneck:
            raise ChoiceError(
                f"{given}: a plain bottleneck block is narrow inside, so never the identity; nearest is block=basic"
            )
        depths = self.depths[cast(BlockKind, config.block)]
        if depth >= config.depth or not depths.stage_blocks(depth):
            lower = [near for near in depths.nearest(min(depth, config.depth - 1)) if near < config.depth]
            raise ChoiceError(f"{given}: must be a depth of the same kind below depth={config.depth}; {nearest_text(lower)}")


@dataclass(frozen=True, kw_only=True)
class DenseRules(StagedRules):
    """The rules of DenseNet-BC: every layer adds `growth` channels to its input."""

    def resolve(self, config: NetworkConfig) -> Mapping[str, Any]:
        block = self.resolve_block(config)
        if config.shortcut not in ("identity", "concatenation"):
            raise ChoiceError(
                f"shortcut={config.shortcut}: family {config.family} joins its layers by concatenation; "
                "nearest is shortcut=concatenation"
            )
        if config.width not in ("auto", 2 * config.growth):
            raise ChoiceError(
                f"width={config.width}: family {config.family} is sized by growth={config.growth}, its stem has twice that; "
                f"nearest are width=auto and growth={max(1, cast(int, config.width) // 2)}"
            )
        return {"block": block, "shortcut": "concatenation", "width": 2 * config.growth}

    def resolved_defaults(self, config: NetworkConfig) -> Mapping[str, Any]:
        return {"block": config.block, "shortcut": "concatenation", "width": 2 * config.growth}

    def sizes(self, config: NetworkConfig) -> Iterator[StageSize]:
        growth, channels = config.growth, cast(int, config.width)
        for number, count in enumerate(self.stage_blocks(config)):
            into = count * channels + growth * (count * (count - 1) // 2)  # input channels of all layers together
            weights = 4 * growth * into + count * 9 * 4 * growth * growth
            yield StageSize(1, weights, channels + count * growth, number + self.stem_halvings)
            channels = (channels + count * growth) // 2

    def last_side(self, side: int, shrinking: int) -> int:
        if side < shrinking:
            raise ChoiceError(f"family=densenet: images of {side}x{side} are too small; the least is {shrinking}x{shrinking}")
        return side // shrinking

    def check_extends(self, config: NetworkConfig, depth: int) -> None:
        raise ChoiceError(
            f"start_from={depth}: each layer of family {config.family} adds channels, none is the identity; nearest is none"
        )


def text(value: object) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:g}" if isinstance(value, float) else shown(value)


_COMMON_KEYS = ("shortcut", "norm", "init", "width", "block")
_RESIDUAL_KEYS = (*_COMMON_KEYS, "bottleneck_stride", "order", *dict.fromkeys(sum(SHORTCUT_KEYS.values(), ())), "survival")
BUILT_IN: Mapping[str, FamilyRules] = {
    "cifar": ResidualRules(
        keys=_RESIDUAL_KEYS,
        depths={
            BlockKind.basic: DepthFormula(6, 2),  # 20, 32, 44, 56, 110, 1202: He et al. 2015, 4.2
            BlockKind.bottleneck: DepthFormula(9, 2),  # 164, 1001: He et al. 2016, 5
        },
        default_block=BlockKind.basic,
        width=16,
    ),
    "imagenet": ResidualRules(
        keys=_RESIDUAL_KEYS,
        images=(3, 224, 1000),
        depths={  # He et al. 2015, Table 1
            BlockKind.basic: DepthTable({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}),
            BlockKind.bottleneck: DepthTable({50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
        },
        stem_halvings=2,
        width=64,
    ),
    "densenet": DenseRules(
        keys=(*_COMMON_KEYS, "growth"),
        depths={BlockKind.dense: DepthFormula(6, 4)},  # 100: Huang et al. 2017, 3 and 4 (DenseNet-BC)
    ),
}
"""The rules of the built-in families."""


def rules_of(family: str) -> FamilyRules:
    """Return the rules of a built-in family or of one that a plugin registered."""
    if family in BUILT_IN:
        return BUILT_IN[family]
    implementation = FAMILY[family]
    rules = getattr(implementation, "rules", None)
    return rules if isinstance(rules, FamilyRules) else FamilyRules(keys=tuple(getattr(implementation, "keys", ())))


def users_of(key: str) -> str:
    """Return the built-in families that use a key, as a message names them."""
    return f"family={' or '.join(name for name, rules in BUILT_IN.items() if key in rules.keys)}"
