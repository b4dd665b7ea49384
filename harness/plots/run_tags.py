"""Which runs a line, a bar or a dot of a figure is of, written into its SVG, so that a page can switch runs off."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd
from matplotlib.artist import Artist

TOGETHER, EACH = "runs", "dots"
GROUP = re.compile(rf'<g id="({TOGETHER}|{EACH}) ([^"]*)">')


def key(run: str) -> str:
    """Return what stands for a run in a page: the hash at the end of its name."""
    return run.rpartition("-")[2]


def belongs(artists: Artist | Iterable[Artist], frame: pd.DataFrame) -> None:
    """Say that these artists are of the runs of a frame, all together: they go when the last of those goes."""
    _mark(artists, TOGETHER, frame.drop_duplicates("run") if "run" in frame else frame)


def belongs_each(artist: Artist, frame: pd.DataFrame) -> None:
    """Say that a collection has one dot for each row of a frame, in this order, each of that row's run."""
    _mark(artist, EACH, frame)


def readable(svg: bytes) -> bytes:
    """Return an SVG with the runs of its groups as data-runs or data-dots, instead of in their ids."""
    return GROUP.sub(r'<g data-\1="\2">', svg.decode()).encode()


def runs_in(svg: str) -> set[str]:
    """Return the keys of all runs that an SVG has something of."""
    return {run for _, runs in re.findall(rf'data-({TOGETHER}|{EACH})="([^"]*)"', svg) for run in runs.split()}


def _mark(artists: Artist | Iterable[Artist], how: str, frame: pd.DataFrame) -> None:
    if "run" not in frame:
        return
    runs = " ".join(map(key, frame["run"]))
    for artist in [artists] if isinstance(artists, Artist) else artists:
        artist.set_gid(f"{how} {runs}")
