"""The order of normalisation, ReLU and addition in a block (He et al. 2016, section 4, Tables 2 and 3)."""

from __future__ import annotations

from experiments.declaration import Experiment
from harness import plots

EXPERIMENT = Experiment(
    "Where in a residual block do batch normalisation and ReLU belong (He et al. 2016, section 4)?",
    (plots.ERROR, plots.CURVES, plots.FIRST_LAYER, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
)
