"""Where and how exactly a run computes: device, threads, determinism and precision."""

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
from harness.system.cores import thread_limit, threads_here
from harness.training.global_state import as_runs_need_it

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The names of those limits in glibc's malloc.h."""
LARGE, LARGEST, NEVER = 4 * 2**20, 32 * 2**20, -1

CPU_FACTS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
BELOW_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA that leave oneDNN no arithmetic for bfloat16."""
SLOW_BF16 = "precision=bf16: this processor does not compute bfloat16 by itself; fp32 is 2 (AVX-512) to 10 times (AVX2) as fast"
"""As measured: a step of 20 layers at 8x8 and 32x32 is 1.6 and 1.9 times as fast with AVX-512, 6.6 and 10 times with AVX2."""

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, when CUDA starts


def resolve(config: RunConfig) -> RunConfig:
    """Return `config` with `auto` decided: device cuda if there is one, precision by `computes_bf16`.

    Raises ChoiceError for a device that this machine does not have.
    """
    device = config.torch_device
    if threads_here(config.threads) > (limit := thread_limit()):
        raise ChoiceError(f"threads={config.threads}: OMP_THREAD_LIMIT={limit} in the environment allows no more than {limit}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ChoiceError(f"device={device}: this machine has no CUDA device that torch can use; allowed: auto, cpu")
        if ":" in device and int(device.split(":")[1]) >= count:
            raise ChoiceError(f"device={device}: this machine has {count} CUDA device(s), cuda:0 to cuda:{count - 1}")
    if config.precision is Precision.auto:
        config = replace(config, precision=Precision.bf16 if computes_bf16(torch.device(device)) else Precision.fp32)
    return replace(config, device=device.partition(":")[0])


def computes_bf16(device: torch.device) -> bool | None:
    """Return whether the device has arithmetic of its own for bfloat16, and may use it; None where that is not known.

    A CPU has it with AVX512-BF16 or AMX, unless ONEDNN_MAX_CPU_ISA keeps oneDNN, which computes the convolutions, to less.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(False))
    try:
        flags = re.search(r"^flags\s*:(.*)$", CPU_FACTS.read_text(), re.MULTILINE)
    except OSError:
        return None
    if flags is None:  # no x86
        return None
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in BELOW_BF16
    return not limited and not BF16_FLAGS.isdisjoint(flags[1].split())


def slow(configs: Iterable[RunConfig]) -> str:
    """Return in one line what makes some of these runs slow on this machine; nothing where nothing does or it is not known."""
    half = any(config.precision is Precision.bf16 and config.device == "cpu" for config in configs)
    return SLOW_BF16 if half and computes_bf16(torch.device("cpu")) is False else ""


@contextmanager
def deterministic(config: RunConfig) -> Iterator[None]:
    """Give bit-identical results for equal configs inside the block, whatever the caller's torch settings, which are restored."""
    with as_runs_need_it(threads_here(config.threads)):
        try:
            if config.execution.activation_checkpointing:
                _give_back_above(LARGE, LARGE)
            else:
                _give_back_above(LARGEST, NEVER)
            yield
        finally:
            _give_back_above(LARGEST, 2 * LARGEST)


def _give_back_above(piece: int, end: int) -> None:
    """Set when the C library, where it is glibc, gives freed memory back to the system: in bytes, or NEVER.

    That is a piece of more than `piece` bytes at once, and what is free at the end of its memory when that is more than `end`.
    Left to itself it lets both rise to LARGEST and twice that. An ordinary step then gives back most of its activations at its
    end, and the next one fetches them again page by page: so never. With checkpointing, pieces of these sizes come and go
    around others that stay, and leave holes that no tensor fits: without LARGE a step takes three times what it keeps.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, piece)
        mallopt(M_TRIM_THRESHOLD, end)


def recordable(device: torch.device) -> bool:
    """Return whether what is launched on the current stream can be recorded: on a GPU, on another stream than the default one."""
    return device.type == "cuda" and torch.cuda.current_stream(device) != torch.cuda.default_stream(device)


def own_stream(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context, to be entered as often as one likes, in which what a GPU is asked for goes on a stream of its own."""
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def is_alive(device: torch.device) -> bool:
    """Return whether the device still works: after some errors CUDA is unusable for the rest of the process."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def record(launches: Callable[[], None]) -> Callable[[], None]:
    """Return what repeats everything that `launches` launches on the current stream, as one CUDA graph; nothing is run yet.

    What it allocates stays allocated as long as the graph is, at the same addresses. Everything before must have been launched on
    this stream, too: the backward pass goes on the streams of the forward pass and of the gradients that it adds to.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        launches()
    return graph.replay


def autocast(config: RunConfig) -> torch.autocast:
    """Return the context of the forward pass: bfloat16 where the operation gains, or plain float32."""
    bf16 = config.precision is Precision.bf16
    return torch.autocast(config.device, torch.bfloat16, enabled=bf16)
