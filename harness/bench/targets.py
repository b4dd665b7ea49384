"""Targets for a CPU with two cores and bfloat16 arithmetic (AVX512-BF16), set before measuring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from harness.bench import metrics

Result = Mapping[str, Any]
Measure = Callable[[Result], float | None]
"""Returns a number of a result, or None if it was not measured."""
DEEPEST = 1202
"""Depth up to which time and memory should grow linearly."""


class Target(NamedTuple):
    what: str
    unit: str
    bound: float
    measure: Measure
    at_least: bool = True


def judge(result: Result) -> list[dict[str, Any]]:
    """Return every target as JSON: what, unit, bound, at_least, measured, and met, which is None if nothing was measured."""
    judged = []
    for target in TARGETS:
        measured = target.measure(result)
        met = None if measured is None else measured >= target.bound if target.at_least else measured <= target.bound
        numbers = {"bound": target.bound, "at_least": target.at_least, "measured": measured, "met": met}
        judged.append({"what": target.what, "unit": target.unit, **numbers})
    return judged


def _worst(figure: str, worst: Callable[..., float | None], depth: int | None = None, precision: str = "") -> Measure:
    """Measure the worst median of a figure, of all nets and precisions or of those on 32x32 images of one depth."""

    def measure(result: Result) -> float | None:
        rows = [row for row in result["steps"] if depth is None or (row["size"], row["depth"]) == (32, depth)]
        precisions = [precision] if precision else ["fp32", "bf16"]
        return worst((metrics.step_figures(row, name)[figure].median for row in rows for name in precisions), default=None)

    return measure


def _two_workers(result: Result) -> float | None:
    return min((metrics.two_workers(row).median for row in result["workers"]), default=None)


def _sweep(result: Result) -> float | None:
    return metrics.sweep_ratio(result["steps"], result["workers"])


def _growth(quantity: str) -> Measure:
    """Measure the departure of `seconds` or `memory` per layer from that of the shallowest net."""

    def measure(result: Result) -> float | None:
        rows = result["growth"]
        return metrics.departure(metrics.per_layer(rows)[quantity]) if DEEPEST in [row["depth"] for row in rows] else None

    return measure


TARGETS = (
    Target("32x32, 20 layers, bf16: share of the bf16 matrix rate", "%", 0.50, _worst("matrix_share", min, 20, "bf16")),
    Target("32x32, 20 layers, bf16: speed-up over the reference loop", "times", 2.2, _worst("ratio", min, 20, "bf16")),
    Target("32x32, 110 layers, bf16: share of the bf16 matrix rate", "%", 0.45, _worst("matrix_share", min, 110, "bf16")),
    Target("32x32, 20 layers, fp32: share of the fp32 matrix rate", "%", 0.65, _worst("matrix_share", min, 20, "fp32")),
    Target("every layer's gradient norm at every step: added to a step", "%", 0.06, _worst("norms", max), at_least=False),
    Target("batches alone: share of a step", "%", 0.04, _worst("pipeline", max), at_least=False),
    Target("8x8: speed-up of two workers over one with two threads", "times", 1.35, _two_workers),
    Target("8x8: speed-up of a sweep in two workers over the reference loop", "times", 2.5, _sweep),
    Target(f"time per layer up to {DEEPEST} layers: departure from 20 layers", "%", 0.15, _growth("seconds"), at_least=False),
    Target(f"memory per layer up to {DEEPEST} layers: departure from 20 layers", "%", 0.15, _growth("memory"), at_least=False),
)
