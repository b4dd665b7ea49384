"""Compute metrics from measurements: images per second, shares of the machine's rates, speed-ups. Plain numbers, no torch.

Every ratio is computed within a round, whose values were measured right after each other; its spread is over the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.bench.timing import Spread, ratios, spread

Row = Mapping[str, Any]


def whole_step(ours: Row, probed_share: float) -> list[float]:
    """Return the mean seconds of a step when `probed_share` of the steps are probed, as in the default schedule."""
    pairs = zip(ours["step"], ours["probed"], strict=True)
    return [step + probed_share * (probed - step) for step, probed in pairs]


def step_figures(row: Row, precision: str) -> dict[str, Spread]:
    """Return the figures of one net in one precision.

    - `images_per_second`
    - `matrix_share`, `copy_share`: FLOPs and least memory traffic per second, over the machine's rates
    - `ratio`, `ratio_norms`: speed-up over the reference loop, without and with the harness's gradient norms at every step
    - `probed`: time of a probed step over that of an ordinary step
    - `norms`: time added by gradient norms at every step, as a share of an ordinary step
    - `pipeline`: time to prepare the batch, as a share of an ordinary step
    """
    ours = row["ours"][precision]
    whole, step = whole_step(ours, row["probed_share"]), ours["step"]
    flops, traffic = row["flops"][precision], row["bytes"][precision]
    figures = {
        "images_per_second": [row["batch"] / seconds for seconds in whole],
        "matrix_share": ratios([flops / seconds for seconds in whole], row["rates"][precision]),
        "copy_share": ratios([traffic / seconds for seconds in whole], row["rates"]["copy"]),
        "ratio": ratios(row["reference"], whole),
        "ratio_norms": ratios(row["reference"], ours["norms"]),
        "probed": ratios(ours["probed"], step),
        "norms": [ratio - 1 for ratio in ratios(ours["norms"], step)],
        "pipeline": ratios(ours["pipeline"], step),
    }
    return {name: spread(values) for name, values in figures.items()}


def two_workers(row: Row) -> Spread:
    """Return the speed-up of two processes over one."""
    return spread(ratios(row["seconds"]["one"], row["seconds"]["two"]))


def sweep_ratio(steps: Sequence[Row], workers: Sequence[Row]) -> float | None:
    """Return the speed-up of two workers over the reference loop, for equally many steps of each net of `workers`.

    `steps` compares the reference with one process, and `workers` compares one process with two, so each ratio is of values
    measured close in time. Includes the probes of the default schedule, but not evaluation or the start and end of runs.
    Returns None if there are no rows.
    """
    reference, ours = 0.0, 0.0
    for row in workers:
        net = next(step for step in steps if all(step[key] == row[key] for key in ("size", "shortcut", "depth")))
        fp32 = net["ours"]["fp32"]
        probes = spread(ratios(whole_step(fp32, net["probed_share"]), fp32["step"])).median
        one, two = (spread(row["seconds"][name]).median for name in ("one", "two"))
        reference += spread(ratios(net["reference"], fp32["step"])).median * one
        ours += probes * two
    return reference / ours if workers else None


def per_layer(growth: Sequence[Row]) -> dict[str, list[float]]:
    """Return `seconds` and `memory` (MiB) divided by the depth, for each row."""
    return {
        "seconds": [spread(row["seconds"]).median / row["depth"] for row in growth],
        "memory": [row["memory"] / row["depth"] for row in growth],
    }


def departure(values: Sequence[float]) -> float | None:
    """Return the largest relative difference from the first value; None if it is the only one."""
    return max(abs(value / values[0] - 1) for value in values[1:]) if len(values) > 1 else None
