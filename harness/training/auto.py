"""What `auto` means here for the device and the precision of a run. torch is imported only where a GPU may be meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.config.registry import ChoiceError
from harness.config.run import Precision, RunConfig
from harness.system.cores import check_threads

CPU_FACTS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
BELOW_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA with which oneDNN has no bfloat16 arithmetic."""
SLOW_BF16 = "precision=bf16: this processor does not compute bfloat16 by itself; fp32 is 2 (AVX-512) to 10 times (AVX2) as fast"
"""Measured: a step of 20 layers on 8x8 and 32x32 images is 1.6 and 1.9 times as fast with AVX-512, 6.6 and 10 times with AVX2."""


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
    if device != "cpu":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device == "auto":
            device = "cuda" if count else "cpu"
    if device == "cuda":
        if count == 0:
            raise ChoiceError(
                f"device={config.torch_device}: this machine has no CUDA device that torch can use; allowed: auto, cpu"
            )
        if number is not None and number >= count:
            raise ChoiceError(f"device=cuda:{number}: this machine has {count} CUDA device(s), cuda:0 to cuda:{count - 1}")
    if config.precision is Precision.auto:
        config = replace(config, precision=Precision.bf16 if computes_bf16(device) else Precision.fp32)
    return replace(config, device=device)


def computes_bf16(device: str) -> bool | None:
    """Return whether a kind of device, cpu or cuda, has native bfloat16 arithmetic here; None if unknown.

    An x86 CPU has it with AVX512-BF16 or AMX, unless ONEDNN_MAX_CPU_ISA keeps oneDNN, which computes the convolutions, from it.
    """
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(False))
    try:
        flags = re.findall(r"^flags\s*:(.*)$", CPU_FACTS.read_text(), re.MULTILINE)[0].split()
    except (OSError, IndexError):  # neither Linux nor x86
        return None
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in BELOW_BF16 and not BF16_FLAGS.isdisjoint(flags)


def slow_precision_warning(configs: Iterable[RunConfig]) -> str:
    """Return a warning if some of these runs compute bfloat16 on a CPU without such arithmetic; empty otherwise."""
    bf16 = any(config.precision is Precision.bf16 and config.device == "cpu" for config in configs)
    return SLOW_BF16 if bf16 and computes_bf16("cpu") is False else ""
