"""Write files atomically."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.records.schema import COLUMNS
from harness.records.upgrade import FORMAT, VERSIONED


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file atomically: under a temporary name in the same folder, then renamed.

    The folder is created if missing. Its parent must exist, so that a results folder that was moved away is not created again.

    Args:
        durable: flush the file to disk before it is renamed.
    """
    path.parent.mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, durable: bool = True) -> None:
    write_bytes(path, text.encode(), durable)


def write_json(path: Path, content: Mapping[str, Any], durable: bool = True) -> None:
    """Write a JSON object; a file of a run states its format (`harness.records.upgrade`)."""
    if path.name in VERSIONED:
        content = {"format": FORMAT, **content}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, gzipped if the name ends in .gz. Equal tables give equal bytes."""
    text = table.to_csv(index=False, na_rep="", lineterminator="\n").encode()
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
            file.write(text)
        text = packed.getvalue()
    write_bytes(path, text)


def write_vectors(path: Path, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write vectors of equal length as npz, by their names. Equal vectors give equal bytes."""
    packed = io.BytesIO()
    np.savez(packed, **dict[str, Any](vectors))
    write_bytes(path, packed.getvalue())


def make_table(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with the columns of the file `name`, in order. Raises KeyError for any other column."""
    columns = COLUMNS.get(name)
    if columns and rows and (extra := set(rows[0]) - set(columns)):
        raise KeyError(f"{name} has no column {min(extra)}")
    return pd.DataFrame(list(rows), columns=None if columns is None else list(columns))


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder; return its new path."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
    return aside
