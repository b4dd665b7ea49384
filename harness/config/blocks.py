"""What a residual block can be: its convolutions, the order of its layers, and which keys have an effect with its shortcut."""

from __future__ import annotations

from enum import Enum

from harness.config.registry import SHORTCUT_KEYS


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


def shortcuts_with(key: str) -> list[str]:
    """Return the built-in shortcuts to which a key belongs."""
    return [shortcut for shortcut, keys in SHORTCUT_KEYS.items() if key in keys]


def applies(key: str, shortcut: str) -> bool:
    """Return whether a key has an effect in networks with this shortcut."""
    return shortcut in (shortcuts_with(key) or [shortcut])
