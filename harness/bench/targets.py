"""What a CPU with two cores and bfloat16 arithmetic (AVX512-BF16) is to reach, set before it was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.bench import metrics

Result = Mapping[str, Any]
DEEPEST = 1202
"""Depth to which time and memory are to grow linearly."""


@dataclass(frozen=True)
class Target:
    """A figure's bound: `measured` returns it, or None where it was not measured; of several nets the worst counts."""

    what: str
    unit: str
    bound: float
    at_least: bool
    measured: Callable[[Result], float | None]

    def judged(self, result: Result) -> dict[str, Any]:
        """Return the target as JSON: what, unit, bound, at_least, measured, and met, which is None where nothing was measured."""
        found = self.measured(result)
        met = None if found is None else (found >= self.bound if self.at_least else found <= self.bound)
        about = {"what": self.what, "unit": self.unit, "bound": self.bound, "at_least": self.at_least}
        return about | {"measured": found, "met": met}


def judge(result: Result) -> list[dict[str, Any]]:
    """Return every target with what was measured."""
    return [target.judged(result) for target in TARGETS]


def _worst(figure: str, highest: bool, size: int | None = None, depth: int | None = None, precision: str | None = None) -> Any:
    def measured(result: Result) -> float | None:
        rows = [row for row in result["steps"] if size in (None, row["size"]) and depth in (None, row["depth"])]
        kinds = ("fp32", "bf16") if precision is None else (precision,)
        found = [metrics.of_steps(row, kind)[figure].median for row in rows for kind in kinds]
        return (max if highest else min)(found, default=None)

    return measured


def _two_workers(result: Result) -> float | None:
    return min((metrics.of_workers(row).median for row in result["workers"]), default=None)


def _growth(what: str) -> Callable[[Result], float | None]:
    def measured(result: Result) -> float | None:
        rows: Sequence[Any] = result["growth"]
        return metrics.departure(metrics.per_layer(rows)[what]) if any(row["depth"] == DEEPEST for row in rows) else None

    return measured


TARGETS = (
    Target(
        "32x32, 20 layers, bf16: share of the bf16 matrix rate", "%", 0.50, True, _worst("matrix_share", False, 32, 20, "bf16")
    ),
    Target("32x32, 20 layers, bf16: beside the reference loop", "times", 2.2, True, _worst("ratio", False, 32, 20, "bf16")),
    Target(
        "32x32, 110 layers, bf16: share of the bf16 matrix rate", "%", 0.45, True, _worst("matrix_share", False, 32, 110, "bf16")
    ),
    Target(
        "32x32, 20 layers, fp32: share of the fp32 matrix rate", "%", 0.65, True, _worst("matrix_share", False, 32, 20, "fp32")
    ),
    Target("norms of every layer's weight gradient at every step: added to a step", "%", 0.06, False, _worst("norms", True)),
    Target("batches alone: share of a step", "%", 0.04, False, _worst("pipeline", True)),
    Target("8x8: two workers beside one with two threads", "times", 1.35, True, _two_workers),
    Target(
        *("8x8: the sweep in two workers beside the reference loop", "times", 2.5, True),
        lambda result: metrics.sweep_ratio(result["steps"], result["workers"]),
    ),
    Target(f"time a layer, 20 to {DEEPEST} layers: departure from 20 layers", "%", 0.15, False, _growth("seconds")),
    Target(f"memory a layer, 20 to {DEEPEST} layers: departure from 20 layers", "%", 0.15, False, _growth("memory")),
)
