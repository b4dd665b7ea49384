"""Choices as plain values, nested and under the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any


def flatten(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested choices, as `RunConfig.choices` or a run's config.json has them, under the command line's names."""
    flat: dict[str, Any] = {}
    for key, value in choices.items():
        if isinstance(value, Mapping):
            flat |= {key if name == "name" else f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in flat.items()}


def varying(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which flattened choices differ, in the order of the keys."""
    return [key for key in flats[0] if len({str(flat[key]) for flat in flats}) > 1] if flats else []


def plain(config: Any) -> dict[str, Any]:
    return {f.name: bare(getattr(config, f.name)) for f in fields(config)}


def bare(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
