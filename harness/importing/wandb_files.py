"""Read the history and the choices from the .wandb file of a Weights & Biases run: a LevelDB log of protobuf records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.config.registry import ChoiceError
from harness.records import reader

START = b":W&B"
PREFIX, BLOCK = 7, 2**15
"""Bytes of the file's header, and of each block of the log."""
CHUNK = struct.Struct("<IHB")
"""Checksum, length and kind of a chunk: 1 a whole record, 2 its first part, 3 a middle part, 4 the last part."""


def read(paths: Sequence[Path]) -> tuple[dict[str, dict[int, float]], dict[str, Any]]:
    """Return the numbers that a run logged, by dotted key and step, and its choices. Keys that begin with _ are left out.

    A record that was cut off at the end of a file, since its process was killed, is left out. Raises RecordError for a file that
    cannot be read, and ChoiceError without the package wandb.
    """
    try:
        record_type = import_module("wandb.proto.wandb_internal_pb2").Record
    except ImportError:
        raise ChoiceError("wandb is not installed; python -m pip install -e '.[import]'") from None
    metrics, choices = dict[str, dict[int, float]](), dict[str, Any]()
    for path in paths:
        data = reader.read_bytes(path, reader.MAX_TABLE)
        with reader.parsing(path):
            for content in _records(data):
                record = record_type.FromString(content)
                for update in (*record.run.config.update, *record.config.update):
                    choices |= dict(_dotted(_key(update), json.loads(update.value_json)))
                row = dict(pair for i in record.history.item for pair in _dotted(_key(i), json.loads(i.value_json)))
                step = row.get("_step", record.history.step.num)
                for key, value in row.items():
                    if not key.startswith("_") and (number := _number(value)) is not None:
                        metrics.setdefault(key, {})[int(step)] = number
    return metrics, {key: value for key, value in choices.items() if not key.startswith("_")}


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a log. Raises ValueError if it is none."""
    if data[: len(START)] != START:
        raise ValueError("is not a file of Weights & Biases")
    position, record = PREFIX, b""
    while position + CHUNK.size <= len(data):
        left = BLOCK - position % BLOCK
        _, length, kind = CHUNK.unpack_from(data, position)
        if left < CHUNK.size or kind == 0:  # padding
            position += left
            continue
        start = position + CHUNK.size
        position = start + length
        if position > len(data):
            return
        record = data[start:position] if kind in (1, 2) else record + data[start:position]
        if kind in (1, 4):
            yield record


def _key(item: Any) -> str:
    return ".".join(item.nested_key) or str(item.key)


def _dotted(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value under its key; of an object each value under a dotted key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _dotted(f"{key}.{name}", inner)
    else:
        yield key, value


def _number(value: Any) -> float | None:
    """Return a logged value as a number; None if it is none. NaN and infinity are texts in some versions."""
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
