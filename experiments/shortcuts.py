"""Shortcuts other than the identity: scaled, gated, convolved, dropped out (He et al. 2016, section 3.1 and Table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness import plots
from harness.analysis.published import HE_2016, Published, published_number
from harness.claims.claim import Claim, Evidence, Experiment, MissingRuns, Protocol, Setting
from harness.claims.measures import HE_2016_WARM_UP, as_published

KEYS = ("depth", "shortcut", "shortcut_scale", "branch_scale", "gate_bias", "shortcut_dropout")
MARGIN = 0.7
"""Points of test error within which a number counts as the published one."""
RULE = f"test error, one sample each: within {MARGIN:g} point of the published number; where training failed, above 20 %"


def table_1(setting: Setting, numbers: Mapping[str, Published]) -> Evidence | MissingRuns:
    return as_published(setting, numbers, MARGIN, nets="nets of 110 layers with {}")


def _number(**net: Any) -> Published:
    return published_number(HE_2016, "Table 1", depth=110, **net)


S1 = Claim(
    id="S1",
    source="He et al. 2016, Table 1",
    sentence="Identity shortcuts, 110 layers: test error (%) identity 6.61.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("identity",)},),
    find=partial(table_1, numbers={"identity": _number(shortcut="identity")}),
    paper=HE_2016_WARM_UP,
)
S2 = Claim(
    id="S2",
    source="He et al. 2016, Table 1",
    sentence="Shortcuts scaled by a half beside a whole branch, 110 layers: test error (%) shortcut times 0.5, branch times 1 "
    "above 20.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("scaling",), "shortcut_scale": (0.5,), "branch_scale": (1.0,)},),
    find=partial(
        table_1,
        numbers={"shortcut times 0.5, branch times 1": _number(shortcut="scaling", shortcut_scale=0.5, branch_scale=1.0)},
    ),
    paper=HE_2016_WARM_UP,
)
S3 = Claim(
    id="S3",
    source="He et al. 2016, Table 1",
    sentence="Shortcut and branch scaled by a half, 110 layers: test error (%) shortcut times 0.5, branch times 0.5 12.35.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("scaling",), "shortcut_scale": (0.5,), "branch_scale": (0.5,)},),
    find=partial(
        table_1,
        numbers={"shortcut times 0.5, branch times 0.5": _number(shortcut="scaling", shortcut_scale=0.5, branch_scale=0.5)},
    ),
    paper=HE_2016_WARM_UP,
)
S4 = Claim(
    id="S4",
    source="He et al. 2016, Table 1",
    sentence="Exclusive gating, by the gate's first bias, 110 layers: test error (%) exclusive gate of bias 0 above 20, "
    "exclusive gate of bias -5 above 20, exclusive gate of bias -6 8.7, exclusive gate of bias -7 9.81.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("exclusive_gate",), "gate_bias": (0.0, -5.0, -6.0, -7.0)},),
    find=partial(
        table_1,
        numbers={
            f"exclusive gate of bias {bias:g}": _number(shortcut="exclusive_gate", gate_bias=bias)
            for bias in (0.0, -5.0, -6.0, -7.0)
        },
    ),
    paper=HE_2016_WARM_UP,
)
S5 = Claim(
    id="S5",
    source="He et al. 2016, Table 1",
    sentence="Shortcut-only gating, by the gate's first bias, 110 layers: test error (%) shortcut only gate of bias 0 12.86, "
    "shortcut only gate of bias -6 6.91.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("shortcut_only_gate",), "gate_bias": (0.0, -6.0)},),
    find=partial(
        table_1,
        numbers={
            f"shortcut only gate of bias {bias:g}": _number(shortcut="shortcut_only_gate", gate_bias=bias) for bias in (0.0, -6.0)
        },
    ),
    paper=HE_2016_WARM_UP,
)
S6 = Claim(
    id="S6",
    source="He et al. 2016, Table 1",
    sentence="1x1 convolution on every shortcut, 110 layers: test error (%) 1x1 convolution 12.22.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("projection_all",)},),
    find=partial(table_1, numbers={"1x1 convolution": _number(shortcut="projection_all")}),
    paper=HE_2016_WARM_UP,
)
S7 = Claim(
    id="S7",
    source="He et al. 2016, Table 1",
    sentence="Dropout of a half on every shortcut, 110 layers: test error (%) dropout above 20.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "shortcut": ("dropout",), "shortcut_dropout": (0.5,)},),
    find=partial(table_1, numbers={"dropout": _number(shortcut="dropout", shortcut_dropout=0.5)}),
    paper=HE_2016_WARM_UP,
)

EXPERIMENT = Experiment(
    "What becomes of a deep residual net when its shortcut is scaled, gated, convolved or dropped out (He et al. 2016, Table 1)?",
    (plots.BY_ARM, plots.CURVES, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    (S1, S2, S3, S4, S5, S6, S7),
)
