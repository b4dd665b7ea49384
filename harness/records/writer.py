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

    A missing folder is created; its parent must exist, so that a results folder that was moved is not created again. With
    `durable`, the file is flushed to disk before it is renamed.
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
    """Write a JSON object, with its format (`harness.records.upgrade`) if the file is versioned."""
    if path.name in VERSIONED:
        content = {"format": FORMAT, **content}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable)


def write_table(path: Path, table: pd.DataFrame, durable: bool = True) -> None:
    """Write a table as CSV, gzipped if the name ends in .gz. Equal tables give equal bytes."""
    text = table.to_csv(index=False, na_rep="", lineterminator="\n").encode()
    if path.suffix == ".gz":
        text = gzip.compress(text, mtime=0)
    write_bytes(path, text, durable)


def write_vectors(path: Path, vectors: Mapping[str, NDArray[np.float32]], durable: bool = True) -> None:
    """Write named vectors of equal length as npz. Equal vectors give equal bytes."""
    packed = io.BytesIO()
    np.savez(packed, **dict[str, Any](vectors))
    write_bytes(path, packed.getvalue(), durable)


def make_table(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with the columns of the file `name`, in order. Raises KeyError for an unknown column."""
    columns = list(COLUMNS.get(name, ()))
    if columns and rows and (extra := set(rows[0]) - set(columns)):
        raise KeyError(f"{name} has no column {min(extra)}")
    return pd.DataFrame(list(rows), columns=columns or None)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder; return its new path."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
    return aside
