"""Choices as plain values, nested or under the names of the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any


def flatten(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested choices, as in config.json, under the names of the command line. Lists become tuples."""
    flat: dict[str, Any] = {}
    for key, value in choices.items():
        if isinstance(value, Mapping):
            flat |= {key if name == "name" else f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return {key: tuple(value) if isinstance(value, list) else value for key, value in flat.items()}


def as_text(value: Any) -> str:
    """Return the value of a key as written on the command line. NaN, which stands for a missing value in a table, is null."""
    if isinstance(value, tuple):
        return f"[{','.join(map(as_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


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
