"""Read records of earlier formats. A record's `format` is an integer; records without one have format 1.

The `format` in a run's config.json holds for the tables of the run, too: CSV and npz files have no room for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.records import paths

FORMAT = 2
"""The format that this version writes."""
VERSIONED = (paths.CONFIG, paths.STATUS, paths.ENVIRONMENT)


def upgraded(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the file `name` in the present format, without the key `format`.

    Raises:
        ValueError: if the record was written in a later format than this version knows.
    """
    found = content.get("format", 1)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise ValueError(f"format: must be a whole number from 1 to {FORMAT}, which this version reads, not {found!r}")
    values = {key: value for key, value in content.items() if key != "format"}
    for step in range(found, FORMAT):
        values = UPGRADES[step](name, values)
    return values


def interleaved_runs_are_counted_by_their_key(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Format 1 to 2: `gang` of environment.json is `runs_per_process`."""
    if name == paths.ENVIRONMENT and "gang" in values:
        values["runs_per_process"] = values.pop("gang")
    return values


UPGRADES: Mapping[int, Callable[[str, dict[str, Any]], dict[str, Any]]] = {1: interleaved_runs_are_counted_by_their_key}
"""The upgrade from each earlier format to the next."""
