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
    """Write a file whole: aside in the same folder, flushed to disk if `durable`, then renamed over `path`.

    The folder is made if need be; the one above must exist, so that results that were moved away are not begun anew.
    """
    path.parent.mkdir(exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, durable: bool = True) -> None:
    write_bytes(path, text.encode(), durable)


def write_json(path: Path, content: Mapping[str, Any], durable: bool = True) -> None:
    """Write a JSON object; a file of a run states its format (`harness.records.upgrade`)."""
    if path.name in VERSIONED:
        content = {"format": FORMAT, **content}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, gzipped where the name ends in .gz, the same bytes for the same table."""
    text = table.to_csv(index=False, na_rep="", lineterminator="\n").encode()
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
            file.write(text)
        text = packed.getvalue()
    write_bytes(path, text)


def write_vectors(path: Path, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write vectors of equal length by their names, the same bytes for the same vectors."""
    packed, named = io.BytesIO(), dict[str, Any](vectors)
    np.savez(packed, **named)
    write_bytes(path, packed.getvalue())


def rows(name: str, content: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as the table `name`, its columns in order; raises KeyError for a column that it does not have."""
    columns = COLUMNS.get(name)
    table = pd.DataFrame(list(content), columns=None if columns is None else list(columns))
    for row in content[:1]:
        if columns and (extra := set(row) - set(columns)):
            raise KeyError(f"{name} has no column {sorted(extra)[0]}")
    return table


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, and return its new place."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
    return aside
