"""The order of normalisation, ReLU and addition in a block (He et al. 2016, section 4, Tables 2 and 3)."""

from __future__ import annotations

from functools import partial

from harness import plots
from harness.analysis.published import HE_2016, published_number
from harness.claims.claim import Claim, Experiment, Protocol
from harness.claims.measures import HE_2016_WARM_UP, as_published

KEYS = ("depth", "order", "block", "shortcut")
MARGIN = 0.5
"""Largest distance of a mean test error from the published number, in points, that reproduces the number."""
BASIC = {"block": "basic", "shortcut": "identity"}
BOTTLENECK = {"block": "bottleneck", "shortcut": "projection"}


def _claim(name: str, order: str, title: str, *, in_table_3: bool = False) -> Claim:
    """Declare the claim on the test errors of an order: both depths of Table 2 are needed, the 1001 layers of Table 3 are not."""
    nets = [{"depth": 110, "order": order, **BASIC}, {"depth": 164, "order": order, **BOTTLENECK}]
    numbers = {f"{net['depth']} layers": published_number(HE_2016, "Table 2", "median of 5", **net) for net in nets}
    if in_table_3:
        deepest = nets[1] | {"depth": 1001}
        numbers["1001 layers"] = published_number(HE_2016, "Table 3", "median of 5", **deepest)
    errors = ", ".join(f"{number.words} of {layers}" for layers, number in numbers.items())
    return Claim(
        id=name,
        source=f"He et al. 2016, Table{'s 2 and 3' if in_table_3 else ' 2'}",
        sentence=f"{title}: test error (%) {errors}.",
        rule=f"test error, one sample each: within {MARGIN:g} point of the published number",
        protocol=Protocol.PAPER,
        keys=KEYS,
        needs=tuple({key: (value,) for key, value in net.items()} for net in nets),
        find=partial(
            as_published,
            numbers=numbers,
            margin=MARGIN,
            nets="nets of this order of {} (110: basic blocks, 164: bottleneck blocks)",
            optional=("1001 layers",),
        ),
        paper=HE_2016_WARM_UP,
    )


CLAIMS = (
    _claim("A1", "original", "The original order: batch normalisation, addition, ReLU", in_table_3=True),
    _claim("A2", "bn_after_addition", "Batch normalisation after the addition"),
    _claim("A3", "relu_before_addition", "ReLU before the addition"),
    _claim("A4", "relu_only_preactivation", "ReLU alone before the convolutions"),
    _claim("A5", "preactivation", "Full pre-activation: batch normalisation and ReLU before the convolutions", in_table_3=True),
)

EXPERIMENT = Experiment(
    "Where in a residual block do batch normalisation and ReLU belong (He et al. 2016, section 4)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
    CLAIMS,
)
