"""What the measurements mean: images per second, shares of the machine, ratios. Arithmetic on plain numbers, no torch.

Every ratio is taken within a round, whose values were measured right after each other, and has the spread of its rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.bench.timing import Spread, ratios, spread

Row = Mapping[str, Any]


def whole_step(ours: Row, probed_share: float) -> list[float]:
    """Return the seconds of a step with the probes of the default schedule: `probed_share` of the steps are probed."""
    pairs = zip(ours["step"], ours["probed"], strict=True)
    return [step + probed_share * (probed - step) for step, probed in pairs]


def of_steps(row: Row, precision: str) -> dict[str, Spread]:
    """Return the figures of one net in one precision.

    `images_per_second`; `matrix_share`: its FLOPs a second of the rate of matrix products; `copy_share`: its least traffic
    a second of the rate of copies; `ratio`: how many times faster than the reference, `ratio_norms` with norms at every step;
    Beside an ordinary step, `probed`: how many times as long a probed one takes; `norms`: the share that norms at every step
    add; `pipeline`: the share that the batch alone takes.
    """
    ours = row["ours"][precision]
    whole, step = whole_step(ours, row["probed_share"]), ours["step"]
    flops, traffic = row["flops"][precision], row["bytes"][precision]
    found = {
        "images_per_second": [row["batch"] / seconds for seconds in whole],
        "matrix_share": ratios([flops / seconds for seconds in whole], row["rates"][precision]),
        "copy_share": ratios([traffic / seconds for seconds in whole], row["rates"]["copy"]),
        "ratio": ratios(row["reference"], whole),
        "ratio_norms": ratios(row["reference"], ours["norms"]),
        "probed": ratios(ours["probed"], step),
        "norms": [ratio - 1 for ratio in ratios(ours["norms"], step)],
        "pipeline": ratios(ours["pipeline"], step),
    }
    return {name: spread(values) for name, values in found.items()}


def of_workers(row: Row) -> Spread:
    """Return how many times the images per second of one process two processes have."""
    return spread(ratios(row["seconds"]["one"], row["seconds"]["two"]))


def sweep_ratio(steps: Sequence[Row], workers: Sequence[Row]) -> float | None:
    """Return how many times faster two workers are than the reference loop, over all nets of `workers`, equal steps of each.

    The reference's time is set beside one process's in `steps`, and that beside two workers' in `workers`: all ratios are of
    neighbours in time. Probes as in the default schedule; evaluation, start and end of runs are left out. None without rows.
    """
    reference, ours = 0.0, 0.0
    for row in workers:
        beside = next(one for one in steps if all(one[key] == row[key] for key in ("size", "shortcut", "depth")))
        fp32 = beside["ours"]["fp32"]
        probes = spread(ratios(whole_step(fp32, beside["probed_share"]), fp32["step"])).median
        one, two = (spread(row["seconds"][name]).median for name in ("one", "two"))
        reference += spread(ratios(beside["reference"], fp32["step"])).median * one
        ours += probes * two
    return reference / ours if workers else None


def per_layer(growth: Sequence[Row]) -> dict[str, list[float]]:
    """Return seconds and MiB a layer at each depth."""
    return {
        "seconds": [spread(row["seconds"]).median / row["depth"] for row in growth],
        "memory": [row["memory"] / row["depth"] for row in growth],
    }


def departure(values: Sequence[float]) -> float | None:
    """Return by which share the values differ at most from the first; None where there is nothing to compare."""
    return max(abs(value / values[0] - 1) for value in values[1:]) if len(values) > 1 else None
