"""Vanishing and exploding gradients, with and without batch normalisation and shortcuts.

He et al. 2015, section 4.1; Glorot and Bengio 2010; Yang et al. 2019 (arXiv:1902.08129).
"""

from experiments.declaration import Experiment
from harness import plots

EXPERIMENT = Experiment(
    "What becomes of the gradient on its way to the first layer, with and without batch normalisation and shortcuts?",
    (plots.FIRST_LAYER, plots.ACTIVATIONS, plots.FORWARD, plots.GRADIENTS, plots.HEAT_MAPS, plots.ERROR, plots.CURVES),
)
