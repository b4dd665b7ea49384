"""Process-wide settings that change a run's numbers: set for a run, and restored afterwards.

A notebook may have turned on TF32, flushed denormal numbers to zero or chosen another default type. Without this module, the same
run would have other numbers there.
"""

from __future__ import annotations

import ctypes
import operator
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic

ELEMENTS_PER_THREAD = 2**16
"""torch uses all threads for a tensor with this many elements per thread."""
SMALLEST: float = struct.unpack("<d", b"\1" + bytes(7))[0]
"""The smallest positive float64, a denormal number. It is not computed, since that gives zero where denormals are flushed."""
BACKENDS = ("", "cudnn", "mkldnn")
OPERATIONS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
"""Attributes of `torch.backends` that have an `fp32_precision`: backends, and their operations, which inherit it."""


@contextmanager
def reproducible_settings(threads: int) -> Iterator[None]:
    """Make equal work give equal bits in the block, on `threads` CPU threads: exact float32, denormals, gradients enabled."""
    attributes: list[tuple[Any, str, bool]] = [
        (torch.utils.deterministic, "fill_uninitialized_memory", False),
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cudnn, "enabled", True),
        (torch.backends.mkldnn, "enabled", True),
    ]
    with ExitStack() as stack:

        def change(before: Any, value: Any, write: Callable[[Any], object]) -> None:
            stack.callback(write, before)
            write(value)

        change(torch.get_num_threads(), threads, torch.set_num_threads)
        change(torch.get_deterministic_debug_mode(), "error", torch.set_deterministic_debug_mode)
        for owner, name, value in attributes:
            change(getattr(owner, name), value, partial(setattr, owner, name))
        change(torch.is_anomaly_enabled(), False, torch.set_anomaly_enabled)
        change(torch.get_default_dtype(), torch.float32, torch.set_default_dtype)
        if torch.get_default_device().type != "cpu":
            change(torch.get_default_device(), None, torch.set_default_device)
        for kind in ("cpu", "cuda"):
            change(torch.is_autocast_enabled(kind), False, partial(torch.set_autocast_enabled, kind))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_exact_float32())
        change(_flushes_denormals(), False, torch.set_flush_denormal)
        if threads > 1 and _pool_flushes_denormals(threads):
            change(True, False, partial(_set_flush_denormal_in_pool, threads))
        yield


def _flushes_denormals() -> bool:
    """Return whether this thread's arithmetic flushes denormal numbers to zero."""
    return SMALLEST * torch.get_num_threads() == 0.0  # Python would fold a constant factor


def _pool_flushes_denormals(threads: int) -> bool:
    """Return whether a thread of OpenMP's pool flushes denormals. It inherits this from the thread that started it."""
    smallest = torch.ones(ELEMENTS_PER_THREAD * threads, dtype=torch.int32).view(torch.float32)  # the smallest positive float32
    return bool(((smallest * 1.0).view(torch.int32) != 1).any())


def _set_flush_denormal_in_pool(threads: int, flush: bool) -> None:
    """Set whether each OpenMP thread flushes denormals. Does nothing unless OpenMP is GNU's, which torch for Linux has."""
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    if parallel is not None:
        parallel(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: torch.set_flush_denormal(flush) and None), None, threads, 0)


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Turn off TF32 and bfloat16 in products of float32 numbers.

    torch has two interfaces for this. Since 2.9 it refuses to read the older one where the newer one differs, so both are set.
    """
    convolution = _allows_tf32(lambda: torch.backends.cudnn.allow_tf32, "cudnn.conv")
    matmul = "high" if _allows_tf32(lambda: torch.backends.cuda.matmul.allow_tf32, "cuda.matmul") else "highest"
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    effective = _precisions(OPERATIONS)
    own: list[tuple[str, str]] = []
    for name in (*BACKENDS, *OPERATIONS):  # backends first: an operation shows its own precision once it inherits none
        own += (precision := _precisions([name]))
        _set_precisions((name, "none") for name, _ in precision)
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution
        _set_precisions(reversed(own))
        restored = _precisions(OPERATIONS)  # an operation that inherited its precision no longer does once it was set
        _set_precisions(pair for pair in effective if pair not in restored)


def _allows_tf32(read: Callable[[], bool], operation: str) -> bool:
    """Return whether the older interface allows TF32. If torch refuses to read it, return the opposite of the newer one."""
    try:
        return read()
    except RuntimeError:
        return dict(_precisions([operation]))[operation] != "tf32"


def _precisions(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the effective precision of each of these attributes of `torch.backends` that this version of torch has."""
    values = [(name, getattr(_backend(name), "fp32_precision", None)) for name in names]
    return [(name, value) for name, value in values if value is not None]


def _set_precisions(precisions: Iterable[tuple[str, str]]) -> None:
    for name, value in precisions:
        _backend(name).fp32_precision = value


def _backend(name: str) -> Any:
    return operator.attrgetter(name)(torch.backends) if name else torch.backends
