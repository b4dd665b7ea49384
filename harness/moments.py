"""What a run's table of a probe says at three moments: at initialisation, early in training, and at the end.

One run's table becomes three rows a place (a layer or a block), so that thousands of runs fit into one frame.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

EARLY = (1, 10)
"""The first and last step, in updates made, of early training: gradients change by magnitudes from one to the next."""
MOMENTS = ("at initialisation (step 0)", "median of steps 1 to 10", "at the last probed step")


def moments(table: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return one run's numbers at each moment: a row a moment and place, `moment` being one of MOMENTS.

    `table` has one row a probed step and place: `step`, the column `place`, and numbers. Those of the first and the last
    moment are the table's own, to the bit; early ones are medians over the steps, what is missing left out. A moment at
    which nothing was probed has no row.
    """
    step, last = table["step"], table["step"].max()
    early = table[step.between(*EARLY) & (step < last)].groupby(place, sort=False).median().reset_index()
    parts = [table[step == 0], early, table[step == last]]
    names = np.repeat(np.array(MOMENTS, dtype=object), [len(part) for part in parts])
    return pd.concat(parts, ignore_index=True).drop(columns="step").assign(moment=names)
