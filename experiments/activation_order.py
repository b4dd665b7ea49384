"""The order of normalisation, ReLU and addition in a block (He et al. 2016, section 4, Tables 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from harness import plots
from harness.analysis.published import HE_2016, Published, published_number
from harness.claims.claim import Claim, Evidence, Experiment, Grid, MissingRuns, Protocol, Setting
from harness.claims.measures import HE_2016_WARM_UP, as_published

KEYS = ("depth", "order", "block", "shortcut")
MARGIN = 0.5
"""Points of test error within which a number counts as the published one."""
RULE = f"test error, one sample each: within {MARGIN:g} point of the published number"
BASIC: Grid = {"block": ("basic",), "shortcut": ("identity",)}
BOTTLENECK: Grid = {"block": ("bottleneck",), "shortcut": ("projection",)}


def as_in_tables(setting: Setting, numbers: Mapping[str, Published]) -> Evidence | MissingRuns:
    """A1 to A5: the depths of Table 2 are needed for every order; the 1001 layers of Table 3 are judged where they were run."""
    nets = "nets of this order of {} (110: basic blocks, 164: bottleneck blocks)"
    return as_published(setting, numbers, MARGIN, nets, optional=("1001 layers",))


def _numbers(order: str, table_3: bool = False) -> dict[str, Published]:
    number = partial(published_number, HE_2016, how="median of 5", order=order)
    bottleneck = partial(number, block="bottleneck", shortcut="projection")
    numbers = {
        "110 layers": number("Table 2", depth=110, block="basic", shortcut="identity"),
        "164 layers": bottleneck("Table 2", depth=164),
    }
    return numbers | ({"1001 layers": bottleneck("Table 3", depth=1001)} if table_3 else {})


A1 = Claim(
    id="A1",
    source="He et al. 2016, Tables 2 and 3",
    sentence="The original order: batch normalisation, addition, ReLU: test error (%) 6.61 of 110 layers, 5.93 of 164 layers, "
    "7.61 of 1001 layers.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "order": ("original",), **BASIC}, {"depth": (164,), "order": ("original",), **BOTTLENECK}),
    find=partial(as_in_tables, numbers=_numbers("original", table_3=True)),
    paper=HE_2016_WARM_UP,
)
A2 = Claim(
    id="A2",
    source="He et al. 2016, Table 2",
    sentence="Batch normalisation after the addition: test error (%) 8.17 of 110 layers, 6.5 of 164 layers.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=(
        {"depth": (110,), "order": ("bn_after_addition",), **BASIC},
        {"depth": (164,), "order": ("bn_after_addition",), **BOTTLENECK},
    ),
    find=partial(as_in_tables, numbers=_numbers("bn_after_addition")),
    paper=HE_2016_WARM_UP,
)
A3 = Claim(
    id="A3",
    source="He et al. 2016, Table 2",
    sentence="ReLU before the addition: test error (%) 7.84 of 110 layers, 6.14 of 164 layers.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=(
        {"depth": (110,), "order": ("relu_before_addition",), **BASIC},
        {"depth": (164,), "order": ("relu_before_addition",), **BOTTLENECK},
    ),
    find=partial(as_in_tables, numbers=_numbers("relu_before_addition")),
    paper=HE_2016_WARM_UP,
)
A4 = Claim(
    id="A4",
    source="He et al. 2016, Table 2",
    sentence="ReLU alone before the convolutions: test error (%) 6.71 of 110 layers, 5.91 of 164 layers.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=(
        {"depth": (110,), "order": ("relu_only_preactivation",), **BASIC},
        {"depth": (164,), "order": ("relu_only_preactivation",), **BOTTLENECK},
    ),
    find=partial(as_in_tables, numbers=_numbers("relu_only_preactivation")),
    paper=HE_2016_WARM_UP,
)
A5 = Claim(
    id="A5",
    source="He et al. 2016, Tables 2 and 3",
    sentence="Full pre-activation: batch normalisation and ReLU before the convolutions: test error (%) 6.37 of 110 layers, 5.46 "
    "of 164 layers, 4.92 of 1001 layers.",
    rule=RULE,
    protocol=Protocol.PAPER,
    keys=KEYS,
    needs=({"depth": (110,), "order": ("preactivation",), **BASIC}, {"depth": (164,), "order": ("preactivation",), **BOTTLENECK}),
    find=partial(as_in_tables, numbers=_numbers("preactivation", table_3=True)),
    paper=HE_2016_WARM_UP,
)

EXPERIMENT = Experiment(
    "Where in a residual block do batch normalisation and ReLU belong (He et al. 2016, section 4)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    (A1, A2, A3, A4, A5),
)
