"""Tag the lines, bars and dots of a figure with their runs, in its SVG, so that a page can hide runs."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd
from matplotlib.artist import Artist

TOGETHER, EACH = "runs", "dots"
GROUP = re.compile(rf'<g id="({TOGETHER}|{EACH}) ([^"]*)">')


def key(run: str) -> str:
    """Return the key of a run in a page: the hash at the end of its name."""
    return run.rpartition("-")[2]


def tag(artists: Artist | Iterable[Artist], frame: pd.DataFrame) -> None:
    """Tag artists with all runs of a frame: a page hides them when it hides the last of these runs."""
    _tag(artists, TOGETHER, frame.drop_duplicates("run") if "run" in frame else frame)


def tag_each(artist: Artist, frame: pd.DataFrame) -> None:
    """Tag a collection that has one dot for each row of a frame, in the same order, with the run of each row."""
    _tag(artist, EACH, frame)


def to_data_attributes(svg: bytes) -> bytes:
    """Return an SVG with the runs of its groups in the attributes data-runs and data-dots instead of the ids."""
    return GROUP.sub(r'<g data-\1="\2">', svg.decode()).encode()


def runs_in(svg: str) -> set[str]:
    """Return the keys of all runs in an SVG."""
    return {run for _, runs in re.findall(rf'data-({TOGETHER}|{EACH})="([^"]*)"', svg) for run in runs.split()}


def _tag(artists: Artist | Iterable[Artist], kind: str, frame: pd.DataFrame) -> None:
    if "run" not in frame:
        return
    runs = " ".join(map(key, frame["run"]))
    for artist in [artists] if isinstance(artists, Artist) else artists:
        artist.set_gid(f"{kind} {runs}")
