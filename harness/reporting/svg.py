"""Embed an SVG drawn by matplotlib in an HTML page: with unique ids, and with colours as variables that a dark page redefines."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable

PAPER, INK = "15181b", "e1e4e7"
"""Background and text of a dark page, as in templates/report.css; those of a light page are white and black."""
MIN_LIGHTNESS, MAX_LIGHTNESS = 0.52, 0.8
"""Lightness of a colour on a dark page, from 0 to 1."""
PIXELS = 4 / 3
"""CSS pixels per point."""
COLOUR = re.compile(r"(?<=: )#([0-9a-f]{6})\b")


def inline(svg: str, prefix: str) -> str:
    """Return an SVG to embed in HTML: no prologue or metadata, ids prefixed, each colour #RRGGBB as var(--cRRGGBB).

    CSS gets the SVG's width as --width.
    """
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = COLOUR.sub(r"var(--c\1)", re.sub(r'( id="|"#|url\(#)', rf"\g<1>{prefix}-", body))
    return re.sub(r'^<svg ([^>]*)width="([\d.]+)pt"', _with_width, body)


def definitions(svgs: Iterable[str]) -> str:
    """Return the CSS that defines the colours of these SVGs, and their dark counterparts if the browser knows light-dark()."""
    colours = sorted({colour for svg in svgs for colour in COLOUR.findall(svg)})
    light = "".join(f"--c{colour}:#{colour};" for colour in colours)
    both = "".join(f"--c{colour}:light-dark(#{colour},#{dark_counterpart(colour)});" for colour in colours)
    return f":root{{{light}}}\n@supports (color:light-dark(red,red)){{:root{{{both}}}}}" if colours else ""


def dark_counterpart(colour: str) -> str:
    """Return the colour (RRGGBB) for a dark page: the same hue, as close to the background as on a light page."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    if saturation < 0.05:
        channels = [ink + (paper - ink) * lightness for ink, paper in zip(_channels(INK), _channels(PAPER), strict=True)]
    else:
        lightness = min(max(1 - lightness, MIN_LIGHTNESS), MAX_LIGHTNESS)
        channels = list(colorsys.hls_to_rgb(hue, lightness, 0.85 * saturation))
    return bytes(round(255 * value) for value in channels).hex()


def _with_width(match: re.Match[str]) -> str:
    return f'<svg style="--width: {PIXELS * float(match[2]):.0f}px" {match[1]}width="{match[2]}pt"'


def _channels(colour: str) -> list[float]:
    return [value / 255 for value in bytes.fromhex(colour)]
