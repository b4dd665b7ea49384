"""Degradation: the training error of plain nets rises with depth, that of residual nets does not (He et al. 2015, Fig. 6)."""

from experiments.declaration import Experiment
from harness import plots

EXPERIMENT = Experiment(
    "Does the training error rise with depth, and do shortcuts stop it (He et al. 2015, sections 1 and 4.2)?",
    plots.ALL,
)
