"""Choices as plain values, nested or under the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any


def flatten(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested choices, as in config.json, under the names of the command line."""
    flat: dict[str, Any] = {}
    for key, value in choices.items():
        if isinstance(value, Mapping):
            flat |= {key if name == "name" else f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in flat.items()}


def varying(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values differ between flattened choices, in the order of the keys."""
    return [key for key in flats[0] if len({str(flat[key]) for flat in flats}) > 1] if flats else []


def plain(config: Any) -> dict[str, Any]:
    """Return the fields of a config as plain values: enums as their value, tuples as lists."""
    return {f.name: plain_value(getattr(config, f.name)) for f in fields(config)}


def plain_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
