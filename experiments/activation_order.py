"""The order of normalisation, ReLU and addition in a block (He et al. 2016, section 4, Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness import plots
from harness.analysis.published import HE_2016, IMAGES, Published, published
from harness.claims.claim import Claim, Experiment, Found, Missing, Protocol, Setting
from harness.claims.measures import WARM_UP, against

KEYS = ("depth", "order", "block", "shortcut")
MARGIN = 0.5
"""Points of test error within which a number counts as the published one."""
BASIC: Mapping[str, Any] = {"block": "basic", "shortcut": "identity"}
BOTTLENECK: Mapping[str, Any] = {"block": "bottleneck", "shortcut": "projection"}
NETS: Mapping[int, Mapping[str, Any]] = {110: BASIC, 164: BOTTLENECK, 1001: BOTTLENECK}
ALWAYS = (110, 164)
"""The depths of Table 2, needed of every order; the 1001 layers of Table 3 are judged where they were run."""


def as_published(setting: Setting, numbers: Mapping[int, Published]) -> Found | Missing:
    """Nets of each depth against their number, on CIFAR-10 alone."""
    if set(setting.runs["data"]) - {"cifar10"}:
        return Missing(IMAGES)
    values = {
        depth: setting.values("test_error", **{key: number.keys[key] for key in setting.keys})
        for depth, number in numbers.items()
    }
    lacking = [f"{depth} layers ({NETS[depth]['block']} blocks)" for depth in ALWAYS if not values[depth]]
    if lacking:
        return Missing(f"nets of this order of {' and '.join(lacking)}")
    notes = [
        f"Not run here: {depth} layers ({numbers[depth].place}: {numbers[depth].words}), "
        f"depth={depth} block=bottleneck shortcut=projection."
        for depth in numbers
        if not values[depth]
    ]
    parts = [against(one, values[depth], f"{depth} layers", MARGIN) for depth, one in numbers.items() if values[depth]]
    return Found(*parts, notes=notes)


def _claim(number: int, order: str, what: str, at_1001: bool = False) -> Claim:
    depths = (*ALWAYS, 1001) if at_1001 else ALWAYS
    numbers = {
        depth: published(
            HE_2016, "Table 3" if depth == 1001 else "Table 2", "median of 5", depth=depth, order=order, **NETS[depth]
        )
        for depth in depths
    }
    errors = ", ".join(f"{one.words} of {depth} layers" for depth, one in numbers.items())
    return Claim(
        id=f"A{number}",
        source=f"He et al. 2016, Table{'s 2 and 3' if at_1001 else ' 2'}",
        sentence=f"{what}: test error (%) {errors}.",
        rule=f"test error, one sample each: within {MARGIN:g} point of the published number",
        protocol=Protocol.PAPER,
        keys=KEYS,
        needs=tuple({"depth": (depth,), "order": (order,), **_grid(NETS[depth])} for depth in ALWAYS),
        find=partial(as_published, numbers=numbers),
        paper=WARM_UP,
    )


def _grid(net: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {key: (value,) for key, value in net.items()}


CLAIMS = (
    _claim(1, "original", "The original order: batch normalisation, addition, ReLU", at_1001=True),
    _claim(2, "bn_after_addition", "Batch normalisation after the addition"),
    _claim(3, "relu_before_addition", "ReLU before the addition"),
    _claim(4, "relu_only_preactivation", "ReLU alone before the convolutions"),
    _claim(5, "preactivation", "Full pre-activation: batch normalisation and ReLU before the convolutions", at_1001=True),
)

EXPERIMENT = Experiment(
    "Where in a residual block do batch normalisation and ReLU belong (He et al. 2016, section 4)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    CLAIMS,
)
