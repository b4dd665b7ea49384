"""The registry of published error rates, each with its source, its table or figure, and how it was obtained.

Only numbers that were read in the named paper or repository. "Fail" in He et al. 2016 means an error above 20 %; here it is a
number that the error lies above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harness.config.network import NetworkConfig

HE_2015, HE_2016 = "He et al. 2015 (arXiv:1512.03385)", "He et al. 2016 (arXiv:1603.05027)"
IMAGES = "runs on CIFAR-10: the published number is an error on its test images, and says nothing of others"
"""What a claim about a published error lacks if its runs use other images."""
AKAMASTER, NABLA = "akamaster/pytorch_resnet_cifar10", "nabla0001"


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
    keys: Mapping[str, Any] = field(init=False)
    """Every key of the network."""

    def __post_init__(self) -> None:
        config = NetworkConfig(**self.net)
        values = {f.name: getattr(config, f.name) for f in fields(NetworkConfig)}
        object.__setattr__(self, "keys", {name: getattr(value, "value", value) for name, value in values.items()})

    @property
    def words(self) -> str:
        """The number as it was published."""
        return f"{'above ' if self.above else ''}{self.error:g}{'' if self.spread is None else f' ± {self.spread:g}'}"


RESIDUAL, PLAIN = {"shortcut": "identity"}, {"shortcut": "none"}
BOTTLENECK = {"block": "bottleneck", "shortcut": "projection"}


def _rows(
    source: str, place: str, how: str, nets: Mapping[tuple[tuple[str, Any], ...], float], **more: Any
) -> Iterator[Published]:
    return (Published(dict(net), error, source, place, how, **more) for net, error in nets.items())


def _net(depth: int, keys: Mapping[str, Any], **more: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(({"depth": depth} | dict(keys) | more).items())


def _imagenet(depth: int, shortcut: str) -> tuple[tuple[str, Any], ...]:
    return _net(depth, {"family": "imagenet", "shortcut": shortcut})


def _he_2015() -> Iterator[Published]:
    table_6 = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 1202: 7.93}
    yield from _rows(HE_2015, "Table 6", "one number", {_net(depth, RESIDUAL): error for depth, error in table_6.items()})
    yield Published(RESIDUAL | {"depth": 110}, 6.43, HE_2015, "Table 6", "best of 5")
    yield Published(RESIDUAL | {"depth": 110}, 6.61, HE_2015, "Table 6", "mean of 5", spread=0.16)
    figure_6 = {_net(20, PLAIN): 9.0, _net(56, PLAIN): 13.0}
    yield from _rows(HE_2015, "Fig. 6 left", "read off a figure", figure_6)
    yield Published(PLAIN | {"depth": 110}, 60.0, HE_2015, "Fig. 6 left", "not displayed", above=True)
    ten_crop = {(18, "none"): 27.94, (34, "none"): 28.54, (18, "identity"): 27.88, (34, "identity"): 25.03}
    options = {(34, "projection"): 24.52, (34, "projection_all"): 24.19}
    deeper = {(50, "projection"): 22.85, (101, "projection"): 21.75, (152, "projection"): 21.43}
    nets = {_imagenet(depth, shortcut): error for (depth, shortcut), error in (ten_crop | options | deeper).items()}
    yield from _rows(HE_2015, "Tables 2 and 3", "one number, 10 crops", nets, data="imagenet")


def _he_2016() -> Iterator[Published]:
    table_1 = {
        _net(110, RESIDUAL): 6.61,
        _net(110, {"shortcut": "scaling", "shortcut_scale": 0.5, "branch_scale": 0.5}): 12.35,
        _net(110, {"shortcut": "exclusive_gate", "gate_bias": -6.0}): 8.70,
        _net(110, {"shortcut": "exclusive_gate", "gate_bias": -7.0}): 9.81,
        _net(110, {"shortcut": "shortcut_only_gate", "gate_bias": 0.0}): 12.86,
        _net(110, {"shortcut": "shortcut_only_gate", "gate_bias": -6.0}): 6.91,
        _net(110, {"shortcut": "projection_all"}): 12.22,
    }
    failed = [
        {"shortcut": "scaling", "shortcut_scale": 0.5, "branch_scale": 1.0},
        *({"shortcut": "exclusive_gate", "gate_bias": bias} for bias in (0.0, -5.0)),
        {"shortcut": "dropout", "shortcut_dropout": 0.5},
    ]
    yield from _rows(HE_2016, "Table 1", "median of 5", table_1)
    yield from _rows(HE_2016, "Table 1", "median of 5: fail", {_net(110, keys): 20.0 for keys in failed}, above=True)
    table_2 = {
        "original": (6.61, 5.93),
        "bn_after_addition": (8.17, 6.50),
        "relu_before_addition": (7.84, 6.14),
        "relu_only_preactivation": (6.71, 5.91),
        "preactivation": (6.37, 5.46),
    }
    for order, (at_110, at_164) in table_2.items():
        nets = {_net(110, RESIDUAL, order=order): at_110, _net(164, BOTTLENECK, order=order): at_164}
        yield from _rows(HE_2016, "Table 2", "median of 5", nets)
    table_3 = {_net(1001, BOTTLENECK): 7.61, _net(1001, BOTTLENECK, order="preactivation"): 4.92}
    yield from _rows(HE_2016, "Table 3", "median of 5", table_3)
    thousand = BOTTLENECK | {"depth": 1001, "order": "preactivation"}
    yield Published(thousand, 4.89, HE_2016, "Table 3", "mean of 5", spread=0.14)


def _repositories() -> Iterator[Published]:
    akamaster = {20: 8.27, 32: 7.37, 44: 6.90, 56: 6.61, 110: 6.32, 1202: 6.18}
    yield from _rows(AKAMASTER, "README", "one number", {_net(depth, RESIDUAL): error for depth, error in akamaster.items()})
    for arm, errors in (
        (RESIDUAL, {20: (8.51, 0.22), 56: (7.40, 0.27), 110: (7.14, 0.20)}),
        (PLAIN, {20: (9.78, 0.13), 56: (12.95, 0.22)}),
    ):
        for depth, (error, spread) in errors.items():
            yield Published(arm | {"depth": depth}, error, NABLA, "README", "mean of 5", spread=spread)


PUBLISHED = (*_he_2015(), *_he_2016(), *_repositories())


def published_number(source: str, place: str, how: str | None = None, **net: Any) -> Published:
    """Return the only number of a source and place for a network. Raises KeyError if there is none, or more than one.

    `net` has the network's keys that are not at their defaults.
    """
    keys = Published(net, 0, "", "", "").keys
    numbers = [
        number
        for number in PUBLISHED
        if (number.source, number.place) == (source, place) and number.keys == keys and how in (None, number.how)
    ]
    if len(numbers) != 1:
        raise KeyError(f"{source}, {place}, {net}: {len(numbers)} numbers")
    return numbers[0]


def matching(keys: Mapping[str, Any]) -> list[Published]:
    """Return the numbers published for the network of a run, given the run's keys."""
    return [number for number in PUBLISHED if number.keys.items() <= keys.items()]
