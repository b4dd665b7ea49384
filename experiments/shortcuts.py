"""Shortcuts other than the identity: scaled, gated, convolved, dropped out (He et al. 2016, section 3.1 and Table 1)."""

from __future__ import annotations

from experiments.declaration import Experiment
from harness import plots

EXPERIMENT = Experiment(
    "What becomes of a deep residual net when its shortcut is scaled, gated, convolved or dropped out (He et al. 2016, Table 1)?",
    (plots.BY_ARM, plots.CURVES, plots.GRADIENTS, plots.ACTIVATIONS, plots.FORWARD),
)
