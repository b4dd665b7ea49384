"""Upgrade records of earlier formats. A record's `format` is an integer; records without one have format 1.

The `format` in a run's config.json also applies to the run's tables, since CSV and npz files do not state one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import paths

FORMAT = 2
"""The format in which this version writes."""
VERSIONED = (paths.CONFIG, paths.STATUS, paths.ENVIRONMENT)


def upgrade(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the file `name` in the present format, without the key `format`.

    Raises ValueError if this version does not know the format.
    """
    version = content.get("format", 1)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise ValueError(f"format: must be a whole number from 1 to {FORMAT}, which this version reads, not {version!r}")
    values = {key: value for key, value in content.items() if key != "format"}
    if version < 2 and name == paths.ENVIRONMENT and "gang" in values:  # renamed in format 2
        values["runs_per_process"] = values.pop("gang")
    return values
