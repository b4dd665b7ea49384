"""Describe the machine and software of a run, without host name, user name or absolute path, so that it can be published."""

from __future__ import annotations

import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "hydra-core", "matplotlib", "scipy", "safetensors")
GIT_SECONDS = 10
"""Time limit of a git command, in case the file system does not respond. After that the code counts as no checkout."""


def describe_machine(device: torch.device | str, threads: int) -> dict[str, Any]:
    """Return the versions of packages, the build of torch, the processor and the number of CPU threads."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in ("depth-harness", *PACKAGES)},
        "torch": {
            "cuda": torch.version.cuda,
            "git": torch.version.git_version,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": threads,
    }


def code_version() -> dict[str, Any]:
    """Return the git commit of the code, and whether the code has uncommitted changes; None for both if it is no checkout."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # fails if this file is not part of the checkout
        return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", "..", ":!../results"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    return subprocess.check_output(
        ["git", *arguments], cwd=folder, stderr=subprocess.DEVNULL, text=True, timeout=GIT_SECONDS
    ).strip()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak memory of this process, where the system supports it (Linux), and of the GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the peak memory in MiB since the last reset, of this process and of the GPU if `device` is one."""
    try:
        process = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
    except (OSError, IndexError):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    gpu = {"gpu_mib": torch.cuda.max_memory_allocated(device) / 2**20} if device.type == "cuda" else {}
    return {"process_mib": process, **gpu}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        return str(re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[0])
    except (OSError, IndexError):
        return platform.processor()
