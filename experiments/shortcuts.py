"""Shortcuts other than the identity: scaled, gated, convolved, dropped out (He et al. 2016, section 3.1 and Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from harness import plots
from harness.analysis.published import HE_2016, IMAGES, Published, published
from harness.claims.claim import Claim, Experiment, Found, Missing, Protocol, Setting
from harness.claims.measures import WARM_UP, against

KEYS = ("depth", "shortcut", "shortcut_scale", "branch_scale", "gate_bias", "shortcut_dropout")
MARGIN = 0.7
"""Points of test error within which a number counts as the published one."""


def as_published(setting: Setting, numbers: Mapping[str, Published]) -> Found | Missing:
    """Each net, by its name in words, against its number; judged on CIFAR-10 alone and where all of them have runs."""
    if set(setting.runs["data"]) - {"cifar10"}:
        return Missing(IMAGES)
    values = {
        name: setting.values("test_error", **{key: number.keys[key] for key in setting.keys}) for name, number in numbers.items()
    }
    lacking = [name for name in numbers if not values[name]]
    if lacking:
        return Missing(f"nets of 110 layers with {' and '.join(lacking)}")
    return Found(*(against(number, values[name], name, MARGIN) for name, number in numbers.items()))


def _claim(number: int, what: str, nets: Mapping[str, Mapping[str, Any]], **varied: Sequence[Any]) -> Claim:
    numbers = {name: published(HE_2016, "Table 1", depth=110, **net) for name, net in nets.items()}
    errors = ", ".join(f"{name} {one.words}" for name, one in numbers.items())
    each = {key: (value,) for net in nets.values() for key, value in net.items()}
    return Claim(
        id=f"S{number}",
        source="He et al. 2016, Table 1",
        sentence=f"{what}, 110 layers: test error (%) {errors}.",
        rule=f"test error, one sample each: within {MARGIN:g} point of the published number; where training failed, above 20 %",
        protocol=Protocol.PAPER,
        keys=KEYS,
        needs=({"depth": (110,), **each, **varied},),
        find=partial(as_published, numbers=numbers),
        paper=WARM_UP,
    )


def _gates(shortcut: str, *biases: float) -> dict[str, dict[str, Any]]:
    return {f"{shortcut.replace('_', ' ')} of bias {bias:g}": {"shortcut": shortcut, "gate_bias": bias} for bias in biases}


def _scaled(branch: float) -> dict[str, dict[str, Any]]:
    keys = {"shortcut": "scaling", "shortcut_scale": 0.5, "branch_scale": branch}
    return {f"shortcut times 0.5, branch times {branch:g}": keys}


EXCLUSIVE, SHORTCUT_ONLY = (0.0, -5.0, -6.0, -7.0), (0.0, -6.0)
CLAIMS = (
    _claim(1, "Identity shortcuts", {"identity": {"shortcut": "identity"}}),
    _claim(2, "Shortcuts scaled by a half beside a whole branch", _scaled(1.0)),
    _claim(3, "Shortcut and branch scaled by a half", _scaled(0.5)),
    _claim(4, "Exclusive gating, by the gate's first bias", _gates("exclusive_gate", *EXCLUSIVE), gate_bias=EXCLUSIVE),
    _claim(
        5, "Shortcut-only gating, by the gate's first bias", _gates("shortcut_only_gate", *SHORTCUT_ONLY), gate_bias=SHORTCUT_ONLY
    ),
    _claim(6, "1x1 convolution on every shortcut", {"1x1 convolution": {"shortcut": "projection_all"}}),
    _claim(7, "Dropout of a half on every shortcut", {"dropout": {"shortcut": "dropout", "shortcut_dropout": 0.5}}),
)
EXPERIMENT = Experiment(
    "What becomes of a deep residual net when its shortcut is scaled, gated, convolved or dropped out (He et al. 2016, Table 1)?",
    (plots.BY_ARM, plots.CURVES, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    CLAIMS,
)
