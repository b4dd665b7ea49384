"""Settings of the whole process that change a run's numbers: put as runs need them for a while, then as they were.

They belong to whoever called: a notebook may have turned on TF32, made denormal numbers zero or chosen another default type. The
same run would have other numbers there under the same name.
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

SHARE = 2**16
"""Elements of a tensor at least, for each thread, with which torch has it take part."""
LEAST: float = struct.unpack("<d", b"\1" + bytes(7))[0]
"""The smallest float64 above zero, a denormal number: not computed, since that gives zero where such numbers are flushed."""
BACKENDS = ("", "cudnn", "mkldnn")
OPERATIONS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
"""Below `torch.backends`: what has a precision of float32 that its parts follow, and those parts."""


@contextmanager
def as_runs_need_it(threads: int) -> Iterator[None]:
    """Make equal work give equal bits inside the block, on `threads` CPU threads: exact float32, denormals, gradients on."""
    cudnn, deterministic = torch.backends.cudnn, torch.utils.deterministic
    with ExitStack() as stack:

        def put(before: Any, wanted: Any, write: Callable[[Any], object]) -> None:
            stack.callback(write, before)
            write(wanted)

        def attribute(owner: Any, name: str, wanted: Any) -> None:
            put(getattr(owner, name), wanted, lambda value: setattr(owner, name, value))

        put(torch.get_num_threads(), threads, torch.set_num_threads)
        put(_determinism(), (True, False), lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]))
        attribute(deterministic, "fill_uninitialized_memory", False)
        attribute(cudnn, "benchmark", False)
        attribute(cudnn, "enabled", True)
        attribute(torch.backends.mkldnn, "enabled", True)
        put(torch.is_anomaly_enabled(), False, torch.set_anomaly_enabled)
        put(torch.get_default_dtype(), torch.float32, torch.set_default_dtype)
        if torch.get_default_device().type != "cpu":
            put(torch.get_default_device(), None, torch.set_default_device)
        for kind in ("cpu", "cuda"):
            put(torch.is_autocast_enabled(kind), False, partial(torch.set_autocast_enabled, kind))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_exact_float32())
        put(_flushes_denormals(), False, torch.set_flush_denormal)
        if threads > 1 and _pool_flushes_denormals(threads):
            put(True, False, lambda on: _in_every_thread(threads, partial(torch.set_flush_denormal, on)))
        yield


def _pool_flushes_denormals(threads: int) -> bool:
    """Return whether a thread of OpenMP's pool does: each is as the one that started it was at that moment."""
    least = torch.ones(SHARE * threads, dtype=torch.int32).view(torch.float32)  # the smallest float32 above zero
    return bool(((least * 1.0).view(torch.int32) != 1).any())


def _in_every_thread(threads: int, work: Callable[[], object]) -> None:
    """Call `work` in each of OpenMP's threads, where it is GNU's, which torch for Linux comes with."""
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    if parallel is not None:
        parallel(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: work() and None), None, threads, 0)


def _determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _flushes_denormals() -> bool:
    """Return whether this thread's arithmetic turns denormal numbers into zero."""
    return LEAST * torch.get_num_threads() == 0.0  # not a constant, which Python would have folded


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Keep TF32 and bfloat16 out of products of float32.

    torch has two interfaces for this, and since 2.9 refuses to read the older one where the newer differs. So both are put.
    """
    convolution = _older(lambda: torch.backends.cudnn.allow_tf32, "cudnn.conv")
    matmul = "high" if _older(lambda: torch.backends.cuda.matmul.allow_tf32, "cuda.matmul") else "highest"
    with suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    in_force = _precisions(OPERATIONS)
    own = []
    for name in (*BACKENDS, *OPERATIONS):  # from the outside in: a part says its own precision only where it follows nothing
        own += _precisions([name])
        _put_precisions([(name, "none") for name, _ in own[-1:]])
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution
        _put_precisions(reversed(own))
        now = dict(_precisions(OPERATIONS))
        _put_precisions([(name, value) for name, value in in_force if now[name] != value])  # which follow once, and never again


def _older(read: Callable[[], bool], operation: str) -> bool:
    """Return whether the older interface allows TF32; where torch refuses to say it, it is not what the newer one says."""
    try:
        return read()
    except RuntimeError:
        return dict(_precisions([operation]))[operation] != "tf32"


def _precisions(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the precision in force of each of these below `torch.backends`, where this torch has it."""
    found = [(name, getattr(_below_backends(name), "fp32_precision", None)) for name in names]
    return [(name, value) for name, value in found if value is not None]


def _put_precisions(values: Iterable[tuple[str, str]]) -> None:
    for name, value in values:
        _below_backends(name).fp32_precision = value


def _below_backends(name: str) -> Any:
    return operator.attrgetter(name)(torch.backends) if name else torch.backends
