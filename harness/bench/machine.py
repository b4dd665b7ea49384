"""What the machine can do: products of matrices and copies of memory.

Neither is a limit of the hardware as its maker states it; they are what PyTorch reaches on this machine at its easiest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.bench.timing import Repeat
from harness.config.run import Precision

SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the square matrices."""
COPIED = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of a copy: more than any cache holds."""
DTYPE = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}


def settled(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product(device: torch.device, precision: Precision, threads: int) -> tuple[Repeat, float]:
    """Return a product of two square matrices, and its FLOPs, a multiply-add counting as two."""
    side = SIDE[device.type]
    one, other, into = (torch.randn(side, side, device=device).to(DTYPE[precision]) for _ in range(3))

    def multiply(times: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            torch.mm(one, other, out=into)
        settled(device)

    return multiply, 2.0 * side**3


def copy(device: torch.device, threads: int) -> tuple[Repeat, float]:
    """Return a copy from one place in memory to another, and the bytes that it moves: read and written both count."""
    source = torch.ones(COPIED[device.type] // 4, device=device)
    target: Tensor = torch.empty_like(source)

    def move(times: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            target.copy_(source)
        settled(device)

    return move, 2.0 * COPIED[device.type]
