"""The registry of published error rates, each with its source, its table or figure, and how it was obtained.

Every number was read in the named paper or repository. "Fail" in He et al. 2016 means an error above 20 %; it is recorded as 20
with `above`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.config.flat import plain
from harness.config.network import NetworkConfig

HE_2015, HE_2016 = "He et al. 2015 (arXiv:1512.03385)", "He et al. 2016 (arXiv:1603.05027)"
AKAMASTER, NABLA = "akamaster/pytorch_resnet_cifar10", "nabla0001"
IMAGES = "runs on CIFAR-10: the published number is an error on its test images, and says nothing of others"
"""What a claim about a published error lacks if its runs use other images."""


@dataclass(frozen=True)
class Published:
    """A published error in percent on test images (ImageNet: top-1, validation images, 10 crops) and its network."""

    net: Mapping[str, Any]
    """The network's keys that are not at their defaults."""
    error: float
    source: str
    place: str
    """Table or figure of the paper; README of a repository."""
    how: str
    """How it was obtained: best of 5, mean of 5, median of 5, read off a figure, one number."""
    spread: float | None = None
    """Standard deviation, if published."""
    above: bool = False
    """Whether the error is known only to lie above the number."""
    data: str = "cifar10"

    @cached_property
    def keys(self) -> Mapping[str, Any]:
        """Every key of the network."""
        return plain(NetworkConfig(**self.net))

    @property
    def words(self) -> str:
        """The number as it was published."""
        return f"{'above ' if self.above else ''}{self.error:g}{'' if self.spread is None else f' ± {self.spread:g}'}"


Arm = Mapping[str, Any]
RESIDUAL, PLAIN = {"shortcut": "identity"}, {"shortcut": "none"}
BOTTLENECK = {"block": "bottleneck", "shortcut": "projection"}
IMAGENET = {"family": "imagenet"}


def _numbers(source: str, place: str, how: str, *arms: tuple[Arm, Mapping[int, float]], **more: Any) -> list[Published]:
    """Return the numbers of networks given as (keys, error by depth)."""
    return [
        Published({"depth": depth, **keys}, error, source, place, how, **more)
        for keys, errors in arms
        for depth, error in errors.items()
    ]


PUBLISHED = (
    *_numbers(HE_2015, "Table 6", "one number", (RESIDUAL, {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 1202: 7.93})),
    *_numbers(HE_2015, "Table 6", "best of 5", (RESIDUAL, {110: 6.43})),
    *_numbers(HE_2015, "Table 6", "mean of 5", (RESIDUAL, {110: 6.61}), spread=0.16),
    *_numbers(HE_2015, "Fig. 6 left", "read off a figure", (PLAIN, {20: 9.0, 56: 13.0})),
    *_numbers(HE_2015, "Fig. 6 left", "not displayed", (PLAIN, {110: 60.0}), above=True),
    *_numbers(
        HE_2015,
        "Tables 2 and 3",
        "one number, 10 crops",
        (IMAGENET | PLAIN, {18: 27.94, 34: 28.54}),
        (IMAGENET | RESIDUAL, {18: 27.88, 34: 25.03}),
        (IMAGENET | {"shortcut": "projection"}, {34: 24.52}),
        (IMAGENET | {"shortcut": "projection_all"}, {34: 24.19}),
        (IMAGENET | {"shortcut": "projection"}, {50: 22.85, 101: 21.75, 152: 21.43}),
        data="imagenet",
    ),
    *_numbers(
        HE_2016,
        "Table 1",
        "median of 5",
        (RESIDUAL, {110: 6.61}),
        ({"shortcut": "scaling", "shortcut_scale": 0.5, "branch_scale": 0.5}, {110: 12.35}),
        ({"shortcut": "exclusive_gate", "gate_bias": -6.0}, {110: 8.70}),
        ({"shortcut": "exclusive_gate", "gate_bias": -7.0}, {110: 9.81}),
        ({"shortcut": "shortcut_only_gate", "gate_bias": 0.0}, {110: 12.86}),
        ({"shortcut": "shortcut_only_gate", "gate_bias": -6.0}, {110: 6.91}),
        ({"shortcut": "projection_all"}, {110: 12.22}),
    ),
    *_numbers(
        HE_2016,
        "Table 1",
        "median of 5: fail",
        ({"shortcut": "scaling", "shortcut_scale": 0.5, "branch_scale": 1.0}, {110: 20.0}),
        ({"shortcut": "exclusive_gate", "gate_bias": 0.0}, {110: 20.0}),
        ({"shortcut": "exclusive_gate", "gate_bias": -5.0}, {110: 20.0}),
        ({"shortcut": "dropout", "shortcut_dropout": 0.5}, {110: 20.0}),
        above=True,
    ),
    *_numbers(
        HE_2016,
        "Table 2",
        "median of 5",
        (RESIDUAL | {"order": "original"}, {110: 6.61}),
        (BOTTLENECK | {"order": "original"}, {164: 5.93}),
        (RESIDUAL | {"order": "bn_after_addition"}, {110: 8.17}),
        (BOTTLENECK | {"order": "bn_after_addition"}, {164: 6.50}),
        (RESIDUAL | {"order": "relu_before_addition"}, {110: 7.84}),
        (BOTTLENECK | {"order": "relu_before_addition"}, {164: 6.14}),
        (RESIDUAL | {"order": "relu_only_preactivation"}, {110: 6.71}),
        (BOTTLENECK | {"order": "relu_only_preactivation"}, {164: 5.91}),
        (RESIDUAL | {"order": "preactivation"}, {110: 6.37}),
        (BOTTLENECK | {"order": "preactivation"}, {164: 5.46}),
    ),
    *_numbers(HE_2016, "Table 3", "median of 5", (BOTTLENECK, {1001: 7.61})),
    *_numbers(HE_2016, "Table 3", "median of 5", (BOTTLENECK | {"order": "preactivation"}, {1001: 4.92})),
    *_numbers(HE_2016, "Table 3", "mean of 5", (BOTTLENECK | {"order": "preactivation"}, {1001: 4.89}), spread=0.14),
    *_numbers(AKAMASTER, "README", "one number", (RESIDUAL, {20: 8.27, 32: 7.37, 44: 6.90, 56: 6.61, 110: 6.32, 1202: 6.18})),
    *_numbers(NABLA, "README", "mean of 5", (RESIDUAL, {20: 8.51}), spread=0.22),
    *_numbers(NABLA, "README", "mean of 5", (RESIDUAL, {56: 7.40}), spread=0.27),
    *_numbers(NABLA, "README", "mean of 5", (RESIDUAL, {110: 7.14}), spread=0.20),
    *_numbers(NABLA, "README", "mean of 5", (PLAIN, {20: 9.78}), spread=0.13),
    *_numbers(NABLA, "README", "mean of 5", (PLAIN, {56: 12.95}), spread=0.22),
)


def published_number(source: str, place: str, how: str | None = None, **net: Any) -> Published:
    """Return the only number of a source and place for a network. Raises KeyError if there is none, or more than one.

    `net` has the network's keys that are not at their defaults.
    """
    wanted = (source, place, plain(NetworkConfig(**net)))
    numbers = [n for n in PUBLISHED if (n.source, n.place, n.keys) == wanted and how in (None, n.how)]
    if len(numbers) != 1:
        raise KeyError(f"{source}, {place}, {net}: {len(numbers)} numbers")
    return numbers[0]


def matching(keys: Mapping[str, Any]) -> list[Published]:
    """Return the numbers published for the network of a run, given the run's keys."""
    return [number for number in PUBLISHED if number.keys.items() <= keys.items()]
