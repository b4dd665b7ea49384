"""Declare the figures of reports: each has a source, a frame of a sweep's tables, and a pure function that draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from harness.analysis.tables import BLOCK_MOMENTS, LAYER_MOMENTS, MAPS, Measure, Tables
from harness.plots import branches, errors, gradients, responses


@dataclass(frozen=True)
class Source:
    """The frame that pictures are drawn from; the report embeds it once for all pictures with this source."""

    name: str
    """Name of the embedded table."""
    frame: Callable[[Tables], pd.DataFrame]
    measures: tuple[Measure, ...] = ()
    """The per-run measures that `frame` uses. A report computes those of all its pictures in one pass."""
    by_step: bool = False
    """Whether it has a row for each run, probed step and layer, which the report also shows step by step."""
    summary: Literal["mean", "median"] = "median"
    """The statistic over seeds that its figures draw. The report embeds it instead of the frame if that is too long."""


@dataclass(frozen=True)
class Picture:
    """A figure that an experiment can ask for. It is drawn if its source has rows, and may be spread over several figures."""

    name: str
    """File name, without the extension."""
    title: str
    caption: str
    source: Source
    draw: Callable[[pd.DataFrame, str], Iterator[Figure]]
    """Draws the source's frame; its second argument is the key on the horizontal axis."""
    x: str = ""
    """Key on the horizontal axis if it varies; otherwise the axis that the sweep's figures share."""


FINISHED = Source("finished", lambda tables: tables.finished, summary="mean")
EPOCHS = Source("epochs", lambda tables: tables.epochs, summary="mean")
LAYERS = Source("layers", lambda tables: tables.layers, (LAYER_MOMENTS,))
BLOCKS = Source("blocks", lambda tables: tables.blocks, (BLOCK_MOMENTS,))


ERROR = Picture(
    "error",
    "Error against depth",
    "Error at the end over all training images (without augmentation, in evaluation mode) and all test images; lines join "
    "the means over seeds, each dot is a run. Degradation is a rise of the training error (He et al. 2015, section 1).",
    FINISHED,
    errors.error_against,
)
BY_ARM = Picture(
    "by-arm",
    "Error of every arm",
    "Error at the end over all training images (without augmentation, in evaluation mode) and all test images; each dot is a "
    "run, bars are means over seeds.",
    FINISHED,
    errors.error_by_arm,
)
CURVES = Picture(
    "curves",
    "Training curves",
    "Dashed: error of the training batches as trained on, mean since the last evaluation. Bold: test error. Means over "
    "seeds. After He et al. 2015, Fig. 6.",
    EPOCHS,
    errors.curves,
)
GRADIENTS = Picture(
    "gradients",
    "Gradient of every layer",
    "Norm of the loss gradient with respect to each layer's weights, accumulated in float64, from the stem to the last "
    "convolution. Tensors whose elements are all zero lie on the dashed line. Dotted: for plain nets with batch normalisation, "
    "the factor of 1.211 per layer towards the input that theory gives for infinite width and batch (Yang et al. 2019, Theorem "
    "8), starting from the measured last layer. Measured factors are from the slope of the logarithm over layers, with 95 % "
    "intervals over seeds.",
    LAYERS,
    gradients.by_layer,
)
FIRST_LAYER = Picture(
    "first-layer",
    "Gradient of the first layer against depth",
    "The layer farthest from the loss, where a vanishing or exploding gradient is most visible. Dotted: for plain nets with "
    "batch normalisation, a factor of 1.211 per layer of depth, starting from the measured least depth (Yang et al. 2019, "
    "Theorem 8). Measured factors are from the slope of the logarithm over depth, with 95 % intervals over seeds.",
    LAYERS,
    gradients.first_layer,
)
ACTIVATIONS = Picture(
    "activations",
    "Gradient with respect to every block's output",
    "Norm of the loss gradient with respect to the output of the stem and of each block: the gradient that reaches that depth "
    "in the backward pass, independent of the scale of the weights. Dotted: the prediction for plain nets, starting from the "
    "measured last block. With batch normalisation it is a factor of 1.211 per layer (Yang et al. 2019, Theorem 8); without, "
    "the factor of the initial values (He et al. 2015b; Glorot and Bengio 2010) times the fraction that zero padding leaves on "
    "maps of this size, as a root mean square over all initial values, below which a single net of few channels mostly lies. "
    "Measured factors are from the slope of the logarithm over blocks, two layers each, with 95 % intervals over seeds.",
    BLOCKS,
    gradients.by_block,
)
FORWARD = Picture(
    "forward",
    "Signal after every block",
    "Root mean square of the output of the stem and of each block. Without normalisation a gradient can be small because the "
    "signal itself has faded, or large because it has grown. Dotted: for plain nets without normalisation or bias, the factors "
    "of initial values and padding, as for gradients, starting from the measured stem.",
    BLOCKS,
    gradients.forward_by_block,
)
HEAT_MAPS = Picture(
    "heat-maps",
    "Gradient by step and layer, run by run",
    "Norm of the loss gradient with respect to each layer's weights; pink: exactly zero, or not finite. For each line of the "
    f"other figures the run with the lowest seed is drawn, at most {MAPS} in all; the others are in their layers.csv.gz.",
    Source("heat-maps", lambda tables: tables.heat_maps, by_step=True),
    gradients.heat_maps,
)
RESPONSES = Picture(
    "responses",
    "Responses of the layers",
    "Standard deviation of the output of each 3x3 convolution after its norm, before ReLU and addition, at the end. After "
    "He et al. 2015, Fig. 7.",
    LAYERS,
    responses.response_std,
)
BRANCHES = Picture(
    "branches",
    "Residual branch beside its input",
    "Standard deviation of the response of each block's last convolution (the size of the branch before the addition) over the "
    "root mean square of the block's input. Dotted: for identity shortcuts with batch normalisation at initialisation, the "
    "prediction, about 1/sqrt(l) at block l of a stage (derived in harness/analysis/theory.py). A new stage begins with new "
    "channels, which are zero, so the ratio rises. De and Smith 2020: batch normalisation makes branches small relative to what "
    "they are added to. Powers of l, measured and predicted, are from the slope of logarithms over the blocks of stage 1, with "
    "95 % intervals over seeds.",
    Source("branches", lambda tables: tables.branches, (LAYER_MOMENTS, BLOCK_MOMENTS)),
    branches.branch_over_input,
)
BY_STEP = Picture(
    "first-layer-by-step",
    "Gradient of the first layer at every step",
    "Norm of the loss gradient with respect to the first layer's weights, accumulated in float64, at every step; if there are "
    "many, medians over stretches of them. Lines are medians over seeds. Only for runs with gradient_norms=every.",
    Source("gradient-norms", lambda tables: tables.gradient_norms),
    gradients.first_layer_by_step,
)
ALL = (ERROR, CURVES, GRADIENTS, FIRST_LAYER, BY_STEP, ACTIVATIONS, FORWARD, BRANCHES, HEAT_MAPS, RESPONSES)
