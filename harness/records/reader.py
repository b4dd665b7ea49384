"""Read every kind of file of a record. The result is a valid value, or a RecordError that names the file.

A file may be damaged, edited or malicious. Therefore only regular files are opened, their size is bounded, and their content is
checked against `harness.records.schema`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from harness.config.run import RunConfig
from harness.records import paths
from harness.records.schema import COLUMNS, GAPPED_COLUMNS, NEVER_EMPTY, SCHEMAS, TEXT_COLUMNS, WHOLE_COLUMNS
from harness.records.upgrade import VERSIONED, upgrade
from harness.records.value_types import LARGEST, find_fault, find_malformation, quote, schema_of

MIB = 2**20
MAX_DOCUMENT = 32 * MIB
"""Maximum bytes of a JSON or Markdown file; those of a sweep of 100,000 runs are under 10 MiB."""
MAX_TABLE = 512 * MIB
"""Maximum bytes of an unpacked CSV file; steps.csv of a million updates has 65 MiB, layers.csv of 1,202 layers 8 MiB."""
MAX_CHECKPOINT = 16 * 1024 * MIB
"""Maximum bytes of a checkpoint; that of 1,202 layers with every gradient norm of 64,000 steps has 0.5 GiB."""
FIRST_CHOICES = frozenset({"depth", "shortcut", "seed", "data", "data.name", "schedule", "schedule.steps"})
"""Keys that config.json has in every format."""
ROUND_TRIP: dict[str, Any] = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
"""Arguments with which pandas reads the bits that were written; since 3.1 it always does."""


class RecordError(Exception):
    """A record is missing or cannot be read."""


def describe_error(error: Exception) -> str:
    """Return the message of an error in one line; of an OSError its file and reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"  # filename2 is the target of a rename
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading. Raises RecordError if it is not one or cannot be read, also for errors in the block."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RecordError(f"{path}: is not a regular file")
            yield file
    except FileNotFoundError:
        raise RecordError(f"{path}: missing") from None
    except IsADirectoryError:
        raise RecordError(f"{path}: is a folder, not a file") from None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn every exception in the block into a RecordError; a parser may raise any exception for damaged content."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{path}: cannot be read: {describe_error(error)[:200]}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file. Raises RecordError if it has more than `most` bytes or cannot be read."""
    with open_file(path) as file:
        return _read_at_most(file, most, path)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with line endings converted to newlines. Raises RecordError if it cannot be read."""
    data = read_bytes(path, MAX_DOCUMENT)
    with parsing(path):
        return io.TextIOWrapper(io.BytesIO(data), "utf-8").read()


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object in the present format, checked against the schema of its file name, if there is one.

    Numbers are finite, whole numbers at most 2**53, and keys unique. Keys that the schema does not name are returned unchecked.
    Raises RecordError, which names the file and the invalid key.
    """
    data = read_bytes(path, MAX_DOCUMENT)
    with parsing(path):
        record: dict[str, Any] = json.loads(
            data.decode("utf-8"), parse_constant=_finite, parse_float=_finite, parse_int=_whole, object_pairs_hook=_object
        )
        if not isinstance(record, dict):
            raise RecordError(f"{path}: is not a JSON object")
        if path.name in VERSIONED:
            record = upgrade(path.name, record)
    schema = schema_of(RunConfig, FIRST_CHOICES) if path.name == paths.CONFIG else SCHEMAS.get(path.name)
    if fault := find_malformation(record) or (schema and find_fault(record, schema)):
        raise RecordError(f"{path}: {fault}")
    return record


def read_table(path: Path, columns: Sequence[str] | None = None, last: int | None = None) -> pd.DataFrame:
    """Return a table of a run; columns of `harness.records.schema` have the type declared there.

    Args:
        columns: the columns to return, in this order; by default all.
        last: number of rows at the end to read and check; by default all.

    Raises:
        RecordError: if the table is missing, damaged or lacks a column.
    """
    if path.suffix == ".npz":
        return _read_vectors(path, columns)
    known = COLUMNS.get(path.name, {})
    with open_file(path) as file, parsing(path):
        text = _read_at_most(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file, MAX_TABLE, path)
        if last is not None:
            first, _, rest = text.rstrip(b"\n").partition(b"\n")
            text = b"\n".join([first, *rest.rsplit(b"\n", last)[-last:]])
        header = _read_header(text)
        if missing := [name for name in (*known, *(columns or ())) if header and name not in header]:
            raise RecordError(f"{path}: lacks the column {missing[0]}")
        wanted = header if columns is None else list(columns)
        texts = [name for name in wanted if name in TEXT_COLUMNS]
        empty = {name: [""] for name in wanted if name not in texts}
        types: dict[str, Any] = {"keep_default_na": False, "na_values": empty, "dtype": dict.fromkeys(texts, str)}
        table = pd.read_csv(io.BytesIO(text), usecols=wanted or None, index_col=False, low_memory=False, **types, **ROUND_TRIP)
    numbers = [name for name in wanted if name in known and name not in texts]
    if table.empty:
        if path.name in NEVER_EMPTY:
            raise RecordError(f"{path}: has no rows")
        table = table.astype(dict.fromkeys(numbers, float))
    for name in numbers:
        if fault := _column_fault(table[name].dropna() if name in GAPPED_COLUMNS else table[name], name in WHOLE_COLUMNS):
            raise RecordError(f"{path}: {name}: {fault}")
    return table if columns is None else table[wanted]


def _read_at_most(file: Any, most: int, path: Path) -> bytes:
    data: bytes = file.read(most + 1)
    if len(data) > most:
        raise RecordError(f"{path}: is too large: more than {most / MIB:g} MiB")
    return data


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > len(str(-LARGEST)) or abs(number := int(text)) > LARGEST:
        raise ValueError(f"{text[:20]}... is larger than any number of a record")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {repeated[:60]!a} is repeated in an object")
    return content


def _read_header(text: bytes) -> list[str]:
    """Return the column names of a CSV file. Raises ValueError if one is repeated, or rows differ in length."""
    first = text.partition(b"\n")[0]
    if len(first) > MIB:
        raise ValueError("its first line is too long")
    header = next(csv.reader([first.decode("utf-8").rstrip("\r")]), [])
    if len(set(header)) < len(header):
        raise ValueError("a column is repeated in the header")
    if b'"' not in text and any(line.count(b",") != len(header) - 1 for line in io.BytesIO(text)):  # pandas pads short rows
        raise ValueError("its rows differ in length")
    return header


def _column_fault(values: pd.Series, whole: bool) -> str:
    """Return a description of an invalid value in a column of numbers; empty if all are valid."""
    if values.dtype.kind not in "iuf":
        wrong = pd.to_numeric(values, errors="coerce").isna() & values.notna()
        return f"must be a number, not {quote(str(values[wrong].iloc[0] if wrong.any() else values.iloc[0]))}"
    if whole and not (values.notna() & (values >= 0) & (values <= LARGEST) & (values % 1 == 0)).all():
        return "must be a whole number, at least 0, in every row"
    return ""


def _read_vectors(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Return the vectors of an npz file as columns, and their index as the column `step`.

    Compressed vectors are refused: a vector never needs more memory than the file.
    """
    with open_file(path) as file, parsing(path), np.load(file, allow_pickle=False) as archive:
        if not archive.files:
            raise ValueError("it has no vectors")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.zip.infolist()):
            raise ValueError("it is compressed")
        wanted = ["step", *archive.files] if columns is None else list(columns)
        if missing := [name for name in wanted if name not in ("step", *archive.files)]:
            raise RecordError(f"{path}: lacks the column {missing[0]}")
        vectors = {name: archive[name] for name in wanted if name != "step"} or {"": archive[archive.files[0]]}
        if any(vector.dtype != np.float32 or vector.ndim != 1 for vector in vectors.values()):
            raise ValueError("it has other content than vectors of 32-bit numbers")
        lengths = {len(vector) for vector in vectors.values()}
        if len(lengths) > 1:
            raise ValueError("its vectors differ in length")
        return pd.DataFrame({"step": np.arange(lengths.pop()), **vectors})[wanted]
