"""An SVG drawn by matplotlib as part of an HTML page: its ids unique there, its colours variables that a dark page changes."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

PAPER, INK = "15181b", "e1e4e7"
"""A dark page and its text, as in templates/report.css; on a light one they are white and black."""
READABLE = (0.52, 0.8)
"""Lightness that a colour may have on a dark page, from 0 to 1."""
PIXELS = 4 / 3
"""CSS pixels of a point."""
COLOUR = re.compile(r"(?<=: )#([0-9a-f]{6})\b")


def inlined(svg: str, unique: str) -> str:
    """Return an SVG fit to stand inside HTML: no prologue or metadata, its ids prefixed, each colour #RRGGBB as var(--cRRGGBB).

    Its own width is there for CSS as --width.
    """
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = COLOUR.sub(r"var(--c\1)", re.sub(r'( id="|"#|url\(#)', rf"\g<1>{unique}-", body))
    return re.sub(r'^<svg ([^>]*)width="([\d.]+)pt"', _with_width, body)


def definitions(svgs: Iterable[str]) -> str:
    """Return the CSS that defines the colours of these SVGs; on a dark page, where light-dark() is known, their counterparts."""
    colours = sorted({colour for svg in svgs for colour in COLOUR.findall(svg)})
    light = "".join(f"--c{colour}:#{colour};" for colour in colours)
    both = "".join(f"--c{colour}:light-dark(#{colour},#{in_the_dark(colour)});" for colour in colours)
    return f":root{{{light}}}\n@supports (color:light-dark(red,red)){{:root{{{both}}}}}" if colours else ""


def in_the_dark(colour: str) -> str:
    """Return what a colour (RRGGBB) is on a dark page: the same hue, what was near to the paper near to it again."""
    channels = _channels(colour)
    hue, lightness, saturation = colorsys.rgb_to_hls(*channels)
    if saturation < 0.05:
        mixed = [ink + (paper - ink) * lightness for ink, paper in zip(_channels(INK), _channels(PAPER), strict=True)]
        return _hex(mixed)
    return _hex(colorsys.hls_to_rgb(hue, min(max(1 - lightness, READABLE[0]), READABLE[1]), 0.85 * saturation))


def _with_width(found: re.Match[str]) -> str:
    return f'<svg style="--width: {PIXELS * float(found[2]):.0f}px" {found[1]}width="{found[2]}pt"'


def _channels(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]


def _hex(channels: Iterable[float]) -> str:
    return "".join(f"{round(255 * value):02x}" for value in channels)
