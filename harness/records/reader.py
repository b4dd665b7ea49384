"""Read every kind of file of a record: the result is a valid value, or a RecordError that names the file.

A record may have been cut short, edited, or made by somebody else. So only regular files are opened (a pipe or a device would
block or never end), the number of bytes is bounded, packed or not, and the content is checked against `harness.records.schema`.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.config.run import RunConfig
from harness.records import paths
from harness.records.schema import COLUMNS, GAPPED_COLUMNS, NEVER_EMPTY, SCHEMAS, TEXT_COLUMNS, WHOLE_COLUMNS
from harness.records.upgrade import VERSIONED, upgrade
from harness.records.value_types import LARGEST, Schema, find_fault, find_malformation, quote, schema_of

MIB = 2**20
MAX_DOCUMENT = 32 * MIB
"""Maximum bytes of a JSON or Markdown file; those of a sweep of 100,000 runs are under 10 MiB."""
MAX_TABLE = 512 * MIB
"""Maximum bytes of a CSV file, unpacked; steps.csv of a million updates has 65 MiB, layers.csv of 1,202 layers 8 MiB."""
MAX_CHECKPOINT = 16 * 1024 * MIB
"""Maximum bytes of a checkpoint; that of 1,202 layers with every gradient norm of 64,000 steps has 0.5 GiB."""
FIRST_CHOICES = frozenset({"depth", "shortcut", "seed", "data", "data.name", "schedule", "schedule.steps"})
"""Choices that every record has, however old."""
ROUND_TRIP: dict[str, Any] = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
"""Makes pandas read the same bits that were written; since 3.1 it always does."""


class RecordError(Exception):
    """A record is missing or cannot be read."""


def describe_error(error: Exception) -> str:
    """Return the message of an error in one line; of an OSError its file and reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"  # filename2 is the target of a rename
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading. Raises RecordError if it is none or cannot be read, also within the block."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, 0), "rb", closefd=True) as file:
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
    """Turn every exception in the block into a RecordError: parsers of damaged content may raise any class."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{path}: cannot be read: {describe_error(error)[:200]}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file. Raises RecordError if there are more than `most`, or it cannot be read."""
    with open_file(path) as file:
        return _read_at_most(file, most, path)


def read_text(path: Path) -> str:
    """Return a UTF-8 text file with all line ends as newline characters. Raises RecordError if it cannot be read."""
    data = read_bytes(path, MAX_DOCUMENT)
    with parsing(path):
        return io.TextIOWrapper(io.BytesIO(data), "utf-8").read()


def read_json(path: Path, schema: Schema | None = None) -> dict[str, Any]:
    """Return a JSON object, in the present format. Numbers are finite, whole ones at most 2**53, and keys are unique.

    Args:
        schema: what the object must fit; by default that of the file's name in `harness.records.schema`, if there is one. Keys
            that it does not name are returned unchecked.

    Raises:
        RecordError: naming the file and the key at fault.
    """
    data = read_bytes(path, MAX_DOCUMENT)
    with parsing(path):
        content = json.loads(
            data.decode("utf-8"), parse_constant=_finite, parse_float=_finite, parse_int=_whole, object_pairs_hook=_object
        )
    if not isinstance(content, dict):
        raise RecordError(f"{path}: holds no JSON object")
    with parsing(path):
        record: dict[str, Any] = upgrade(path.name, content) if path.name in VERSIONED else content
    schema = schema or (schema_of(RunConfig, FIRST_CHOICES) if path.name == paths.CONFIG else SCHEMAS.get(path.name))
    if fault := find_malformation(record) or (schema and find_fault(record, schema)):
        raise RecordError(f"{path}: {fault}")
    return record


def read_table(path: Path, columns: Sequence[str] | None = None, last: int | None = None) -> pd.DataFrame:
    """Return a table of a run. Columns of `harness.records.schema` have the type that it declares.

    Args:
        columns: the columns to return, in this order; by default all.
        last: read, and check, only this many rows at the end; by default all.

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
        if lacking := [name for name in (*known, *(columns or ())) if header and name not in header]:
            raise RecordError(f"{path}: lacks the column {lacking[0]}")
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
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > len(str(-LARGEST)) or abs(number := int(text)) > LARGEST:
        raise ValueError(f"{text[:20]}... is larger than any number of a record")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:60]!a} stands twice in one object")
    return content


def _read_header(text: bytes) -> list[str]:
    """Return the column names of a CSV file. Raises ValueError if one is repeated, or rows differ in length."""
    first = text.partition(b"\n")[0]
    if len(first) > MIB:
        raise ValueError("its first line is too long")
    header = next(csv.reader([first.decode("utf-8").rstrip("\r")]), [])
    if len(set(header)) < len(header):
        raise ValueError("a column stands twice in its header")
    if b'"' not in text and not _is_rectangular(text, len(header) - 1):
        raise ValueError("its rows are not all of one length")
    return header


def _is_rectangular(text: bytes, commas: int) -> bool:
    """Return whether each line of a CSV text without quotes has this many commas; pandas would pad shorter rows."""
    letters = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    newlines, comma_positions = np.flatnonzero(letters == ord("\n")), np.flatnonzero(letters == ord(","))
    if len(comma_positions) != commas * len(newlines):
        return False
    by_line = comma_positions.reshape(len(newlines), -1)
    return commas <= 0 or bool((by_line[:, -1] < newlines).all() and (by_line[1:, 0] > newlines[:-1]).all())


def _column_fault(values: pd.Series, whole: bool) -> str:
    """Return a description of what is wrong with a column of numbers; empty if nothing is."""
    if not pd.api.types.is_numeric_dtype(values) or values.dtype.kind not in "iuf":
        wrong = pd.to_numeric(values, errors="coerce").isna() & values.notna()
        return f"must be a number, not {quote(str(values[wrong].iloc[0] if wrong.any() else values.iloc[0]))}"
    if whole and not (values.notna() & (values >= 0) & (values <= LARGEST) & (values % 1 == 0)).all():
        return "must be a whole number, at least 0, in every row"
    return ""


def _read_vectors(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Return the vectors of an npz file, all of one length, as columns, and their index as `step`."""
    with open_file(path) as file, parsing(path), zipfile.ZipFile(file) as archive:
        members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if not members:
            raise ValueError("it holds no vectors")
        wanted = ["step", *members] if columns is None else list(columns)
        if lacking := [name for name in wanted if name not in ("step", *members)]:
            raise RecordError(f"{path}: lacks the column {lacking[0]}")
        names = [name for name in wanted if name != "step"] or list(members)[:1]
        vectors = {name: _read_vector(archive, members[name]) for name in names}
        lengths = {len(vector) for vector in vectors.values()}
        if len(lengths) > 1:
            raise ValueError("its vectors are not all of one length")
        return pd.DataFrame({"step": np.arange(lengths.pop()), **vectors})[wanted]


def _read_vector(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.float32]:
    """Return a float32 vector as `write_vectors` packs it. Raises ValueError for any other member of an archive.

    Vectors are not compressed, so one takes no more memory than its file; the length in its own header is not trusted.
    """
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{quote(entry.filename)} is compressed")
    stream = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{quote(entry.filename)} is of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f4") or len(shape) != 1:
        raise ValueError(f"{quote(entry.filename)} is no vector of 32-bit numbers")
    vector: NDArray[np.float32] = np.frombuffer(stream.getbuffer(), dtype, offset=stream.tell())
    if len(vector) != shape[0]:
        raise ValueError(f"{quote(entry.filename)} is cut short")
    return vector
