"""An SVG drawn by matplotlib as part of an HTML page: its ids unique there, its colours variables that a dark page changes."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

PAPER, INK = 0.09, 0.89
"""Lightness of a dark page and of its text, from 0 to 1; templates/report.css has them as colours."""
READABLE = (0.52, 0.8)
"""Lightness that a colour may have on a dark page."""
COLOUR = re.compile(r"(?<=: )#([0-9a-f]{6})\b")


def inlined(svg: str, unique: str) -> str:
    """Return an SVG fit to stand inside HTML: no prologue or metadata, its ids prefixed, each colour #RRGGBB as var(--cRRGGBB)."""
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return COLOUR.sub(r"var(--c\1)", re.sub(r'( id="|"#|url\(#)', rf"\g<1>{unique}-", body))


def definitions(svgs: Iterable[str]) -> str:
    """Return the CSS that defines the colours of these SVGs, and their counterparts on a dark page where browsers have light-dark()."""
    colours = sorted({colour for svg in svgs for colour in COLOUR.findall(svg)})
    light = "".join(f"--c{colour}:#{colour};" for colour in colours)
    both = "".join(f"--c{colour}:light-dark(#{colour},#{in_the_dark(colour)});" for colour in colours)
    return f":root{{{light}}}\n@supports (color:light-dark(red,red)){{:root{{{both}}}}}" if colours else ""


def in_the_dark(colour: str) -> str:
    """Return what a colour (RRGGBB) is on a dark page: the same hue, what was near to the paper near to it again."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)))
    if saturation < 0.05:
        lightness = INK + (PAPER - INK) * lightness
    else:
        lightness, saturation = min(max(1 - lightness, READABLE[0]), READABLE[1]), 0.85 * saturation
    return "".join(f"{round(255 * value):02x}" for value in colorsys.hls_to_rgb(hue, lightness, saturation))
