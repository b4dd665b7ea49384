"""Upgrade records of earlier formats. A record's `format` is an integer; records without one have format 1.

The `format` in a run's config.json holds for the tables of the run, too: CSV and npz files have no room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records import paths

FORMAT = 2
"""The format that this version writes."""
VERSIONED = (paths.CONFIG, paths.STATUS, paths.ENVIRONMENT)


def upgrade(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the file `name` in the present format, without the key `format`.

    Raises:
        ValueError: if the record was written in a later format than this version knows.
    """
    version = content.get("format", 1)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise ValueError(f"format: must be a whole number from 1 to {FORMAT}, which this version reads, not {version!r}")
    values = {key: value for key, value in content.items() if key != "format"}
    for number in range(version, FORMAT):
        values = UPGRADES[number](name, values)
    return values


def _rename_gang(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Format 1 to 2: `gang` of environment.json is `runs_per_process`."""
    if name == paths.ENVIRONMENT and "gang" in values:
        values["runs_per_process"] = values.pop("gang")
    return values


UPGRADES: Mapping[int, Callable[[str, dict[str, Any]], dict[str, Any]]] = {1: _rename_gang}
"""The upgrade from each earlier format to the next."""
