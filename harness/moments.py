"""What a run's table of a probe says at three moments: at initialisation, early in training, and at the end.

One run's table becomes three rows a place (a layer or a block), so that thousands of runs fit into one frame.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EARLY = (1, 10)
"""The first and last step, in updates made, of early training: gradients change by magnitudes from one to the next."""
MOMENTS = ("at initialisation (step 0)", "median of steps 1 to 10", "at the last probed step")


def moments(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return one run's numbers at each moment: a row a moment and place, `moment` being one of MOMENTS.

    `table` has one row a probed step and place: `step`, the column `place`, and numbers. Those of the first and the last
    moment are the table's own, to the bit; early ones are medians over the steps, what is missing left out. A moment at
    which nothing was probed has no row.
    """
    step = table["step"].to_numpy()
    last = step.max(initial=0)
    early = _medians(table[(step >= EARLY[0]) & (step <= EARLY[1]) & (step < last)], place)
    parts = [table[step == 0], early, table[step == last]]
    names = np.repeat(np.array(MOMENTS, dtype=object), [len(part) for part in parts])
    return pd.concat(parts, ignore_index=True).drop(columns="step").assign(moment=names)


def _medians(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return the median over steps of every column, a row a place in order of appearance.

    A net has the same places at every step: cutting columns into steps x places takes a tenth of the time of groups.
    """
    places = table[place].to_numpy()
    count = len(set(places))
    if count == 0 or len(places) % count or (places.reshape(-1, count) != places[:count]).any():
        return table.groupby(place, sort=False).median().reset_index()
    columns = {name: _median(table[name].to_numpy(dtype=float).reshape(-1, count)) for name in table.columns if name != place}
    return pd.DataFrame({place: places[:count], **columns})


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of each column, what is missing left out; missing where all is."""
    ordered = np.sort(values, axis=0)  # what is missing comes last
    known = np.count_nonzero(~np.isnan(ordered), axis=0)
    columns = np.arange(values.shape[1])
    middle: NDArray[np.float64] = (ordered[np.maximum(known - 1, 0) // 2, columns] + ordered[known // 2, columns]) / 2
    return middle
