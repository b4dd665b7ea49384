"""Reduce a table over the steps of a run: to three moments per place (layer or block), or to medians of stretches of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[Any]
EARLY = (1, 10)
"""The first and last step of early training, in which gradients change by orders of magnitude from step to step."""
MOMENTS = ("at initialisation (step 0)", "median of steps 1 to 10", "at the last probed step")
STRETCHES = 200
"""Maximum points of a line that has a value at every step."""


def hidden_layers(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layers that the papers count, without the last one, the classifier; projections have no number."""
    return layers[layers["layer"].notna() & (layers["layer"] < layers["layer"].max())]


def moments(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return one row per moment (`moment`, one of MOMENTS) and place.

    `table` has one row per probed step and place: `step`, the column `place`, and numbers. Numbers of the first and last moment
    are those of the table; early ones are medians over the steps, ignoring NaN. A moment without a probed step has no rows.
    """
    step = table["step"].to_numpy()
    last = step.max(initial=0)
    columns = {str(name): table[name].to_numpy() for name in table.columns if name != "step"}
    start, end = np.flatnonzero(step == 0), np.flatnonzero(step == last)
    between = np.flatnonzero((step >= EARLY[0]) & (step <= EARLY[1]) & (step < last))
    early = _medians({name: values[between] for name, values in columns.items()}, place)
    joined = {name: np.concatenate([values[start], early[name], values[end]]) for name, values in columns.items()}
    counts = [len(start), len(early[place]), len(end)]
    return pd.DataFrame(joined | {"moment": np.repeat(np.array(MOMENTS, dtype=object), counts)})


def _medians(columns: Mapping[str, Values], place: str) -> Mapping[str, Values]:
    """Return the median over steps of every column at each place, in order of appearance.

    If every step has the same places, columns are reshaped to [steps, places], which is ten times as fast as a groupby.
    """
    places = columns[place]
    count = len(set(places))
    if count == 0:
        return columns
    if len(places) % count or (places.reshape(-1, count) != places[:count]).any():
        groups = pd.DataFrame(dict(columns)).groupby(place, sort=False).median().reset_index()
        return {name: groups[name].to_numpy() for name in columns}
    cut = {name: values.astype(float).reshape(-1, count) for name, values in columns.items() if name != place}
    return {place: places[:count]} | {name: _median(values) for name, values in cut.items()}


def _median(values: Values) -> Values:
    """Return the median of each column, ignoring NaN; NaN if all are. Unlike np.nanmedian it gives no warnings."""
    ordered = np.sort(values, axis=0)  # NaN comes last
    known = np.count_nonzero(~np.isnan(ordered), axis=0)
    columns = np.arange(values.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        middle: Values = (ordered[np.maximum(known - 1, 0) // 2, columns] + ordered[known // 2, columns]) / 2
    return middle


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of a table with a row for every step, over at most STRETCHES stretches of steps.

    Their lengths grow geometrically; single steps are left as they are while these are few.
    """
    edges = np.unique(np.geomspace(1, len(table) + 1, STRETCHES + 1).astype(int)) - 1
    return table.groupby(np.searchsorted(edges, table["step"], side="right")).median()
