"""Device, threads, determinism and precision of a run."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.config.registry import ChoiceError
from harness.config.run import Precision, RunConfig
from harness.system.cores import check_threads, threads_here
from harness.training.global_state import reproducible_settings

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt in glibc's malloc.h."""
LARGE, LARGEST, NEVER = 4 * 2**20, 32 * 2**20, -1
"""Thresholds in bytes; LARGEST is glibc's upper bound of the mmap threshold."""

CPU_FACTS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
BELOW_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA with which oneDNN has no bfloat16 arithmetic."""
SLOW_BF16 = "precision=bf16: this processor does not compute bfloat16 by itself; fp32 is 2 (AVX-512) to 10 times (AVX2) as fast"
"""Measured: a step of 20 layers on 8x8 and 32x32 images is 1.6 and 1.9 times as fast with AVX-512, 6.6 and 10 times with AVX2."""

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, when CUDA starts


def resolve(config: RunConfig, elsewhere: str = "auto") -> RunConfig:
    """Return `config` with `auto` resolved: device cuda if there is one, precision bf16 if the device computes it.

    Args:
        elsewhere: kind of device of the machine that trains the run, cpu or cuda, of which nothing more is known here; auto if it
            is this one.

    Raises:
        ChoiceError: for a device or a number of threads that this machine does not have.
    """
    device, number = config.device, config.execution.device_number
    if elsewhere != "auto" and number is not None:
        raise ChoiceError(f"device=cuda:{number}: the launcher chooses the GPU; nearest is device=cuda")
    if elsewhere != "auto":
        device = elsewhere if device == "auto" else device
        precision = Precision.bf16 if device == "cuda" else Precision.fp32
        return replace(config, device=device, precision=precision if config.precision is Precision.auto else config.precision)
    check_threads(config.threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ChoiceError(
                f"device={config.torch_device}: this machine has no CUDA device that torch can use; allowed: auto, cpu"
            )
        if number is not None and number >= count:
            raise ChoiceError(f"device=cuda:{number}: this machine has {count} CUDA device(s), cuda:0 to cuda:{count - 1}")
    if config.precision is Precision.auto:
        config = replace(config, precision=Precision.bf16 if computes_bf16(torch.device(device)) else Precision.fp32)
    return replace(config, device=device)


def computes_bf16(device: torch.device) -> bool | None:
    """Return whether the device has native bfloat16 arithmetic; None if unknown.

    An x86 CPU has it with AVX512-BF16 or AMX, unless ONEDNN_MAX_CPU_ISA keeps oneDNN, which computes the convolutions, from it.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(False))
    try:
        flags = re.findall(r"^flags\s*:(.*)$", CPU_FACTS.read_text(), re.MULTILINE)[0].split()
    except (OSError, IndexError):  # neither Linux nor x86
        return None
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in BELOW_BF16 and not BF16_FLAGS.isdisjoint(flags)


def slow_precision_warning(configs: Iterable[RunConfig]) -> str:
    """Return a warning if some of these runs compute bfloat16 on a CPU without such arithmetic; empty otherwise."""
    bf16 = any(config.precision is Precision.bf16 and config.device == "cpu" for config in configs)
    return SLOW_BF16 if bf16 and computes_bf16(torch.device("cpu")) is False else ""


@contextmanager
def deterministic(config: RunConfig) -> Iterator[None]:
    """Make equal configs give bit-identical results in the block, whatever the caller's torch settings, which are restored."""
    thresholds = (LARGE, LARGE) if config.execution.activation_checkpointing else (LARGEST, NEVER)
    with reproducible_settings(threads_here(config.threads)):
        _set_malloc_thresholds(*thresholds)
        try:
            yield
        finally:
            _set_malloc_thresholds(LARGEST, 2 * LARGEST)


def _set_malloc_thresholds(mmap: int, trim: int) -> None:
    """Set glibc's mmap and trim thresholds (bytes). By default glibc raises them dynamically to LARGEST and twice that.

    Freed blocks above `mmap` are returned to the system at once, as is the end of the heap once more than `trim` of it is free.
    By default a step returns most of its activations, and the next step faults them in again page by page: hence NEVER. With
    activation checkpointing, freed blocks leave holes that no tensor fits: without LARGE a step takes three times the memory that
    it keeps.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, mmap)
        mallopt(M_TRIM_THRESHOLD, trim)


def can_record_graph(device: torch.device) -> bool:
    """Return whether work on the current stream can be recorded as a CUDA graph: on a GPU, on a stream other than the default."""
    return device.type == "cuda" and torch.cuda.current_stream(device) != torch.cuda.default_stream(device)


def new_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Return a reusable context in which GPU work goes to a new stream; on a CPU it does nothing."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def is_alive(device: torch.device) -> bool:
    """Return whether the device still works: after some errors CUDA is unusable for the rest of the process."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return True
    except RuntimeError:
        return False


def record_graph(launches: Callable[[], None]) -> Callable[[], None]:
    """Record everything that `launches` launches on the current stream as a CUDA graph; return a function that replays it.

    Nothing is computed while recording. The graph's memory stays at its addresses as long as the graph exists. Earlier work must
    have been launched on this stream: the backward pass runs on the streams of the forward pass and of accumulated gradients.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        launches()
    return graph.replay
