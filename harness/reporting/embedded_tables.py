"""Make the tables behind figures small enough to embed in the page: gzipped CSV in base64."""

from __future__ import annotations

import base64
import gzip
from typing import Literal

import numpy as np
import pandas as pd

MAX_ROWS = 40_000
"""Maximum rows. A longer table is summarised over seeds, or left out if the summary is too long as well."""
MAX_NORMS = 80_000
"""Maximum gradient norms behind the heat map with a slider. If there are more, evenly spaced steps are kept."""
KEYS = ("arm", "x", "moment", "step", "layer", "block")
"""Columns that identify a row of a summary over seeds."""
DIGITS = 7
"""Significant digits, enough for float32."""


def pack(frame: pd.DataFrame, digits: int = DIGITS) -> str:
    """Return a frame, without the column `net`, as base64 text. Equal frames give equal text."""
    csv = frame.drop(columns="net", errors="ignore").to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")
    return base64.b64encode(gzip.compress(csv.encode(), mtime=0)).decode()


def shorten(name: str, frame: pd.DataFrame, statistic: Literal["mean", "median"]) -> tuple[str, pd.DataFrame] | None:
    """Return a table of at most MAX_ROWS rows and its name: the frame, or its summary over seeds, or None if neither fits."""
    if len(frame) <= MAX_ROWS:
        return name, frame
    keys = [key for key in KEYS if key in frame]
    numbers = [column for column in frame.select_dtypes("number") if column not in (*keys, "seed")]
    summary = frame.groupby(keys, sort=False, dropna=False)[numbers].agg(statistic)
    return (f"{name}-{statistic}s", summary.reset_index()) if len(summary) <= MAX_ROWS else None


def thin_out(norms: pd.DataFrame) -> pd.DataFrame:
    """Return at most MAX_NORMS gradient norms by run, step and layer, at evenly spaced steps including the first and the last."""
    steps = np.sort(norms["step"].unique())
    count = min(len(steps), max(2, MAX_NORMS * len(steps) // max(len(norms), 1)))
    kept = steps[np.linspace(0, len(steps) - 1, count).round().astype(int)]
    return norms.loc[norms["step"].isin(kept), ["run", "arm", "x", "seed", "step", "layer", "grad_norm"]]
