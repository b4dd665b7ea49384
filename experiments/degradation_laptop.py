"""Degradation on real CIFAR-10 within an hour or so on two CPU cores: the nets of He et al. 2015, Fig. 6, on a short schedule."""

from __future__ import annotations

from experiments import degradation, vanishing_gradient
from harness import plots
from harness.claims.claim import Experiment

EXPERIMENT = Experiment(
    "On CIFAR-10, within 1,500 steps: does the training error of plain nets rise with depth, and that of residual nets less?",
    plots.ALL,
    (*degradation.CLAIMS, vanishing_gradient.G2, vanishing_gradient.G3, vanishing_gradient.G4),
)
