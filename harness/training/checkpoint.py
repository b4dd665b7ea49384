"""Write and read checkpoints: atomic, with a checksum, tensors and plain values only."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from harness.records import reader
from harness.records.reader import RecordError
from harness.records.writer import write_bytes

MAGIC = b"depth-harness checkpoint 1\n"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values, preceded by its SHA-256."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_bytes(path, MAGIC + hashlib.sha256(content).digest() + content)


def load(path: Path) -> dict[str, Any]:
    """Return the state, on the CPU. Raises RecordError if the file is missing or damaged."""
    data = reader.read_bytes(path, reader.MAX_CHECKPOINT)
    start = len(MAGIC) + hashlib.sha256().digest_size
    if not data.startswith(MAGIC) or hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        raise RecordError(f"{path}: damaged: its checksum does not fit its content")
    with reader.parsing(path):
        state: dict[str, Any] = torch.load(io.BytesIO(data[start:]), map_location="cpu", weights_only=True)
    return state
