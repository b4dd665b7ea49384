"""Rates of the machine: matrix products and memory copies, as fast as PyTorch does them here; not the maker's peak rates."""

from __future__ import annotations

import torch

from harness.bench.timing import Repeat
from harness.config.run import Precision

SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the square matrices."""
COPIED = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of a copy: more than any cache holds."""
DTYPE = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product(device: torch.device, precision: Precision, threads: int) -> tuple[Repeat, float]:
    """Return a product of two square matrices, and its FLOPs, a multiply-add counting as two."""
    side = SIDE[device.type]
    a, b, out = (torch.randn(side, side, device=device).to(DTYPE[precision]) for _ in range(3))

    def multiply(times: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            torch.mm(a, b, out=out)
        synchronize(device)

    return multiply, 2.0 * side**3


def copy(device: torch.device, threads: int) -> tuple[Repeat, float]:
    """Return a copy within memory, and the bytes that it moves, each read and written."""
    source = torch.ones(COPIED[device.type] // 4, device=device)
    target = torch.empty_like(source)

    def move(times: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            target.copy_(source)
        synchronize(device)

    return move, 2.0 * COPIED[device.type]
