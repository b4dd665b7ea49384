"""The table behind a figure, small enough to travel inside the page: CSV, packed by gzip, in base64."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pandas as pd

ROWS = 40_000
"""Rows at most; of longer tables a summary by arm and place is given, or nothing."""
CELLS = 80_000
"""Gradient norms at most that the heat map with a slider has: of more, steps are left out, evenly."""
PLACES = ("arm", "x", "moment", "step", "layer", "block")
DIGITS = 7
"""Significant digits: those of float32."""
MEANS = ("epochs",)
"""Tables of which figures draw means over seeds; of the others they draw medians."""


def packed(frame: pd.DataFrame, digits: int = DIGITS) -> str:
    """Return a frame as text for a page; equal frames give equal text."""
    csv = frame.drop(columns="net", errors="ignore").to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
    return base64.b64encode(gzip.compress(csv.encode(), mtime=0)).decode()


def behind(name: str, frame: pd.DataFrame) -> tuple[str, pd.DataFrame] | None:
    """Return a name and the frame that figures of the table `name` were drawn from; a summary over seeds if it is too long.

    Nothing where that is too long, too.
    """
    if len(frame) <= ROWS:
        return name, frame
    keys = [key for key in PLACES if key in frame]
    numbers = [column for column in frame.select_dtypes("number") if column not in (*keys, "seed")]
    groups = frame.groupby(keys, sort=False, dropna=False)[numbers]
    kind, short = ("means", groups.mean()) if name in MEANS else ("medians", groups.median())
    return (f"{name}-{kind}", short.reset_index()) if len(short) <= ROWS else None


def steps_of(norms: pd.DataFrame) -> pd.DataFrame:
    """Return gradient norms by run, step and layer, of so many probed steps that CELLS suffice, the first and last among them."""
    steps = np.sort(norms["step"].unique())
    count = min(len(steps), max(2, CELLS * len(steps) // max(len(norms), 1)))
    kept = steps[np.linspace(0, len(steps) - 1, count).round().astype(int)]
    return norms.loc[norms["step"].isin(kept), ["run", "arm", "x", "seed", "step", "layer", "grad_norm"]]
