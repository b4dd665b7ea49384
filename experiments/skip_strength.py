"""A shortcut of strength lambda between 0, the plain net, and 1, the residual net: where does degradation begin?

Ours. He et al. 2016, section 3.1 (eq. 7), on shortcuts scaled by lambda: over L blocks the signal carried back by the shortcuts
is scaled by lambda^L, so it vanishes exponentially in depth for every lambda below 1.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.declaration import Experiment
from harness import plots
from harness.plots import Picture

STRENGTH = "shortcut_scale"


def _against_strength(picture: Picture, title: str) -> Picture:
    return replace(picture, title=title, x=STRENGTH)


EXPERIMENT = Experiment(
    "With the shortcut scaled by lambda from 0 (plain) to 1 (residual), where does degradation begin?",
    (
        _against_strength(plots.ERROR, "Error against the strength of the shortcut"),
        _against_strength(plots.FIRST_LAYER, "Gradient of the first layer against the strength of the shortcut"),
        _against_strength(plots.CURVES, plots.CURVES.title),
        _against_strength(plots.ACTIVATIONS, plots.ACTIVATIONS.title),
        _against_strength(plots.FORWARD, plots.FORWARD.title),
    ),
)
