"""Shortcuts other than the identity: scaled, gated, convolved, dropped out (He et al. 2016, section 3.1 and Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness import plots
from harness.analysis.published import HE_2016, published_number
from harness.claims.claim import Claim, Experiment, Protocol
from harness.claims.measures import HE_2016_WARM_UP, as_published

MARGIN = 0.7
"""Largest distance of a mean test error from the published number, in points, that reproduces the number."""


def _claim(name: str, title: str, nets: Mapping[str, Mapping[str, Any]]) -> Claim:
    """Declare the claim on the test errors of these nets of 110 layers: keys by short name, the same keys in each net."""
    numbers = {short: published_number(HE_2016, "Table 1", depth=110, **net) for short, net in nets.items()}
    keys = next(iter(nets.values()))
    return Claim(
        id=name,
        source="He et al. 2016, Table 1",
        sentence=f"{title}, 110 layers: test error (%) {', '.join(f'{short} {n.words}' for short, n in numbers.items())}.",
        rule=f"test error, one sample each: within {MARGIN:g} point of the published number; where training failed, above 20 %",
        protocol=Protocol.PAPER,
        keys=("depth", "shortcut", "shortcut_scale", "branch_scale", "gate_bias", "shortcut_dropout"),
        needs=({"depth": (110,)} | {key: tuple(dict.fromkeys(net[key] for net in nets.values())) for key in keys},),
        find=partial(as_published, numbers=numbers, margin=MARGIN, nets="nets of 110 layers with {}"),
        paper=HE_2016_WARM_UP,
    )


def _scaled(shortcut: float, branch: float) -> dict[str, dict[str, Any]]:
    keys = {"shortcut": "scaling", "shortcut_scale": shortcut, "branch_scale": branch}
    return {f"shortcut times {shortcut:g}, branch times {branch:g}": keys}


def _gated(gate: str, *biases: float) -> dict[str, dict[str, Any]]:
    return {f"{gate.replace('_', ' ')} of bias {bias:g}": {"shortcut": gate, "gate_bias": bias} for bias in biases}


CLAIMS = (
    _claim("S1", "Identity shortcuts", {"identity": {"shortcut": "identity"}}),
    _claim("S2", "Shortcut scaled by 0.5, branch not scaled", _scaled(0.5, 1.0)),
    _claim("S3", "Shortcut and branch scaled by 0.5", _scaled(0.5, 0.5)),
    _claim("S4", "Exclusive gating, for each initial bias of the gate", _gated("exclusive_gate", 0.0, -5.0, -6.0, -7.0)),
    _claim("S5", "Shortcut-only gating, for each initial bias of the gate", _gated("shortcut_only_gate", 0.0, -6.0)),
    _claim("S6", "A 1x1 convolution on every shortcut", {"1x1 convolution": {"shortcut": "projection_all"}}),
    _claim("S7", "Dropout at rate 0.5 on every shortcut", {"dropout": {"shortcut": "dropout", "shortcut_dropout": 0.5}}),
)

EXPERIMENT = Experiment(
    "What becomes of a deep residual net when its shortcut is scaled, gated, convolved or dropped out (He et al. 2016, Table 1)?",
    (plots.BY_ARM, plots.CURVES, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    CLAIMS,
)
