"""Tag the lines, bars and dots of a figure with their runs, in its SVG, so that a page can hide runs."""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.artist import Artist

GROUP = re.compile(r'<g id="(runs|dots) ([^"]*)">')


def key(run: str) -> str:
    """Return the key of a run in a page: the hash at the end of its name."""
    return run.rpartition("-")[2]


def tag(artist: Artist, frame: pd.DataFrame) -> None:
    """Tag an artist with all runs of a frame: a page hides it when it hides the last of these runs."""
    _tag(artist, "runs", frame.drop_duplicates("run") if "run" in frame else frame)


def tag_each(artist: Artist, frame: pd.DataFrame) -> None:
    """Tag a collection that has one dot for each row of a frame, in the same order, with the run of each row."""
    _tag(artist, "dots", frame)


def _tag(artist: Artist, kind: str, frame: pd.DataFrame) -> None:
    if "run" in frame:
        artist.set_gid(f"{kind} {' '.join(map(key, frame['run']))}")


def to_data_attributes(svg: bytes) -> bytes:
    """Return an SVG with the runs of its groups in the attributes data-runs and data-dots instead of the ids."""
    return GROUP.sub(r'<g data-\1="\2">', svg.decode()).encode()


def runs_in(svg: str) -> set[str]:
    """Return the keys of all runs in an SVG."""
    return set(" ".join(re.findall(r'data-(?:runs|dots)="([^"]*)"', svg)).split())
