"""Extend a trained net by identity blocks: a deeper net that computes the same function (claim C1).

"There exists a solution by construction to the deeper model: the added layers are identity mapping, and the other layers are
copied from the learned shallower model" (He et al. 2015, section 1). Blocks are added at the end of each stage, so every trained
tensor keeps its name. In order=original a block's input has passed a ReLU and is nowhere negative. There,

* a plain block of two 3x3 convolutions is the identity if both have Dirac kernels and no bias. In evaluation mode, batch
  normalisation is the identity up to rounding with gamma 1, beta 0, running mean 0 and running variance 1 - eps. In training mode
  it cannot be: each channel gets mean beta and standard deviation gamma over the batch, whatever the input, so no gamma and beta
  serve every batch.
* a block with an identity shortcut is exactly the identity in both modes if its branch ends in zeros: gamma and beta of the last
  norm or, without norms, the weights of the last convolution. Its other tensors keep their initial values.
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
    """Return the weights of a finished run; raises RecordError if they are missing or damaged."""
    if not run.has_status or not run.finished() or not (run.folder / paths.WEIGHTS).is_file():
        state = run.state_now if run.has_status else "not there"
        raise RecordError(f"the run to start from, {run.name}, has no weights: it is {state}")
    run.check()
    weights: dict[str, Tensor] = load_file(run.folder / paths.WEIGHTS)
    return weights


@torch.no_grad()
def extend(model: nn.Module, trained: Mapping[str, Tensor]) -> None:
    """Copy the tensors of the shallower net `trained` into `model`, and make its other blocks the identity."""
    state = model.state_dict()
    for name, tensor in trained.items():
        state[name].copy_(tensor)
    for block in introspection.blocks(model):
        if not any(name.startswith(f"{block.name}.") for name in trained):
            assert isinstance(block.module, Block)
            make_identity(block.module)


@torch.no_grad()
def make_identity(block: Block) -> None:
    """Make a block of order=original and of constant shape the identity on inputs that are nowhere negative."""
    branch = [(getattr(block, f"conv{number}"), getattr(block, f"norm{number}")) for number in range(1, block.depth + 1)]
    if block.shortcut.passes:
        conv, norm = branch[-1]
        for parameter in (conv if isinstance(norm, nn.Identity) else norm).parameters():
            parameter.zero_()
        return
    for conv, norm in branch:
        nn.init.dirac_(conv.weight)
        if conv.bias is not None:
            conv.bias.zero_()
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_var is not None
            norm.running_var.fill_(1 - norm.eps)
