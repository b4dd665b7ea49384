"""Device, threads and determinism of a run."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from harness.config.run import RunConfig
from harness.system.cores import threads_here
from harness.training.global_state import reproducible_settings

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt in glibc's malloc.h."""
LARGE, LARGEST, NEVER = 4 * 2**20, 32 * 2**20, -1
"""Thresholds in bytes; LARGEST is glibc's upper bound of the mmap threshold."""

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, when CUDA starts


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
