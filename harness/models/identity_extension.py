"""A trained net made deeper by blocks that change nothing: the deeper net that contains the shallower one (claim C1).

"There exists a solution by construction to the deeper model: the added layers are identity mapping, and the other layers are
copied from the learned shallower model" (He et al. 2015, section 1). The added blocks stand at the end of each stage, so every
trained tensor keeps its name. In order=original a block's input has passed a ReLU and is nowhere negative; there

* a plain block of two 3x3 convolutions is the identity if both hand each channel on as it is (Dirac kernels, no bias). In
  evaluation mode batch normalisation changes nothing with gamma 1, beta 0, running mean 0 and running variance 1 - eps, but for
  rounding. In training mode it cannot be the identity: it gives each channel the mean beta and the deviation gamma over the
  batch, whatever came in, so no gamma and beta serve every batch.
* a block with an identity shortcut is the identity in both modes, to the bit, if its branch ends in zero: gamma and beta of
  the last norm, or without norms the weights of the last convolution. Its other tensors keep their initial values.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from harness.models import introspection
from harness.models.blocks import Block
from harness.records import paths
from harness.records.reader import RecordError
from harness.records.run import Run


def trained_weights(run: Run) -> dict[str, Tensor]:
    """Return the weights of a run that is done; raises RecordError where it has none, or damaged ones."""
    if not run.has_status or not run.finished() or not (run.folder / paths.WEIGHTS).is_file():
        state = run.state_now if run.has_status else "not there"
        raise RecordError(f"the run to start from, {run.name}, has no weights: it is {state}")
    run.check()
    weights: dict[str, Tensor] = load_file(run.folder / paths.WEIGHTS)
    return weights


@torch.no_grad()
def extend(model: nn.Module, trained: Mapping[str, Tensor]) -> None:
    """Give `model` the tensors of the shallower net `trained`, and make its other blocks the identity."""
    own = model.state_dict()
    for name, tensor in trained.items():
        own[name].copy_(tensor)
    for block in introspection.blocks(model):
        if not any(name.startswith(f"{block.name}.") for name in trained):
            assert isinstance(block.module, Block)
            make_identity(block.module)


@torch.no_grad()
def make_identity(block: Block) -> None:
    """Make a block of order=original, without change of shape, return its input, which is nowhere negative."""
    parts = [(getattr(block, f"conv{number}"), getattr(block, f"norm{number}")) for number in range(1, block.count + 1)]
    if block.shortcut.passes:
        conv, norm = parts[-1]
        for parameter in (conv if isinstance(norm, nn.Identity) else norm).parameters():
            parameter.zero_()
        return
    for conv, norm in parts:
        nn.init.dirac_(conv.weight)
        if conv.bias is not None:
            conv.bias.zero_()
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_var is not None
            norm.running_var.fill_(1 - norm.eps)
