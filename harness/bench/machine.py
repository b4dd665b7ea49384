"""Measured rates of the machine: PyTorch's matrix products and memory copies. These are below the manufacturer's peak rates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from harness.bench.timing import Repeat
from harness.config.run import Precision

SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the square matrices."""
COPIED = {"cpu": 2**26, "cuda": 2**30}
"""Bytes of a copy, more than any cache holds."""
DTYPE = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16}


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def product(device: torch.device, precision: Precision, threads: int) -> tuple[Repeat, float]:
    """Return a product of two square matrices and its FLOPs (a multiply-add counts as two)."""
    side = SIDE[device.type]
    a, b, out = (torch.randn(side, side, device=device).to(DTYPE[precision]) for _ in range(3))
    return _repeat(partial(torch.mm, a, b, out=out), device, threads), 2.0 * side**3


def copy(device: torch.device, threads: int) -> tuple[Repeat, float]:
    """Return a copy within memory and the bytes that it moves; each byte is read and written, and counts twice."""
    source = torch.ones(COPIED[device.type] // 4, device=device)
    return _repeat(partial(torch.empty_like(source).copy_, source), device, threads), 2.0 * COPIED[device.type]


def _repeat(operation: Callable[[], object], device: torch.device, threads: int) -> Repeat:
    def repeat(times: int) -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            operation()
        synchronize(device)

    return repeat
