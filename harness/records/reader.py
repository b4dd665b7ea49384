"""The one door through which files are read: what comes out is a value of the expected form, or a RecordError naming the file.

It opens regular files alone (a pipe or a device would block or never end), reads no more than a bounded number of bytes,
packed or not, and checks what it finds by `harness.records.schema`. A record may have been cut short, edited, or made by
somebody else."""

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
from harness.records.schema import COLUMNS, NEVER_EMPTY, OF_SOME_ROWS, SCHEMAS, TEXT_COLUMNS, WHOLE_COLUMNS
from harness.records.upgrade import VERSIONED, upgraded
from harness.records.value_types import LARGEST, Schema, misfit, of_choices, shown, unfit_anywhere

MIB = 2**20
DOCUMENT = 32 * MIB
"""Bytes of a JSON or Markdown file at most: those of a sweep of 100,000 runs are under 10 MiB."""
TABLE = 512 * MIB
"""Bytes of a CSV file at most, unpacked: steps.csv of a million updates has 65 MiB, layers.csv of 1,202 layers 8 MiB."""
STATE = 16 * 1024 * MIB
"""Bytes of a checkpoint at most: that of 1,202 layers with every gradient norm of 64,000 steps has 0.5 GiB."""
FIRST_CHOICES = frozenset({"depth", "shortcut", "seed", "data", "data.name", "schedule", "schedule.steps"})
"""Choices that every record has, however old."""
EXACT: dict[str, Any] = {} if pd.__version__ >= "3.1" else {"float_precision": "round_trip"}
"""What makes pandas read a number to the bit; since 3.1 it always does."""


class RecordError(Exception):
    """A record that is missing, or that cannot be read as what it should be."""


def words(error: Exception) -> str:
    """Return what an error says, of an OSError its file and reason, in one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename2 or error.filename}: {error.strerror}"  # of a rename, the name that was to be
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; raises RecordError where there is none, or where it cannot be opened or read."""
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
    """Make a RecordError of whatever a parser raises: what it says to damaged content is no closed set."""
    try:
        yield
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{path}: cannot be read: {words(error)[:200]}") from error


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; raises RecordError where it has more than `most`, or cannot be read."""
    with opened(path) as file:
        return _at_most(file, most, path)


def read_text(path: Path) -> str:
    """Return a text file, UTF-8, with every line ended by a newline character; raises RecordError."""
    data = read_bytes(path, DOCUMENT)
    with parsing(path):
        return io.TextIOWrapper(io.BytesIO(data), "utf-8").read()


def read_json(path: Path, schema: Schema | None = None) -> dict[str, Any]:
    """Return a JSON object that fits its schema; raises RecordError naming file and key where there is none.

    Without `schema` it is that of the file's name in `harness.records.schema`, if it has one. Keys that the schema does not
    name are left as they are. Numbers are finite, and whole ones at most 2**53; no key stands twice in an object.
    """
    data = read_bytes(path, DOCUMENT)
    with parsing(path):
        content = json.loads(
            data.decode("utf-8"), parse_constant=_number, parse_float=_number, parse_int=_whole, object_pairs_hook=_object
        )
    if not isinstance(content, dict):
        raise RecordError(f"{path}: holds no JSON object")
    if path.name in VERSIONED:
        with parsing(path):
            content = upgraded(path.name, content)
    schema = schema or (of_choices(RunConfig, FIRST_CHOICES) if path.name == paths.CONFIG else SCHEMAS.get(path.name))
    if wrong := unfit_anywhere(content) or (schema and misfit(content, schema)):
        raise RecordError(f"{path}: {wrong}")
    return content


def read_table(path: Path, columns: Sequence[str] | None = None, last: int | None = None) -> pd.DataFrame:
    """Return a table of a run, or only some columns of it; raises RecordError if it is missing, damaged or lacks a column.

    With `last` only so many rows at its end are read, and checked. Columns of `harness.records.schema` hold what is said there:
    numbers but for a few, whole ones where they say the place of a row.
    """
    if path.suffix == ".npz":
        return _read_vectors(path, columns)
    known = COLUMNS.get(path.name, {})
    with opened(path) as file, parsing(path):
        text = _at_most(gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file, TABLE, path)
        if last is not None:
            first, _, rest = text.rstrip(b"\n").partition(b"\n")
            text = b"\n".join([first, *rest.rsplit(b"\n", last)[-last:]])
        header = _header(text)
        if lacking := [name for name in (*known, *(columns or ())) if header and name not in header]:
            raise RecordError(f"{path}: lacks the column {lacking[0]}")
        wanted = header if columns is None else list(columns)
        texts = [name for name in wanted if name in TEXT_COLUMNS]
        gaps = {name: [""] for name in wanted if name not in texts}
        how: dict[str, Any] = {"keep_default_na": False, "na_values": gaps, "dtype": dict.fromkeys(texts, str)}
        table = pd.read_csv(io.BytesIO(text), usecols=wanted or None, index_col=False, low_memory=False, **how, **EXACT)
    numbers = [name for name in wanted if name in known and name not in texts]
    if table.empty:
        if path.name in NEVER_EMPTY:
            raise RecordError(f"{path}: has no rows")
        table = table.astype(dict.fromkeys(numbers, float))
    for name in numbers:
        if wrong := _unfit(table[name].dropna() if name in OF_SOME_ROWS else table[name], name in WHOLE_COLUMNS):
            raise RecordError(f"{path}: {name}: {wrong}")
    return table if columns is None else table[wanted]


def _at_most(file: Any, most: int, path: Path) -> bytes:
    """Return what is left of a file, unpacked; raises RecordError beyond `most` bytes."""
    data: bytes = file.read(most + 1)
    if len(data) > most:
        raise RecordError(f"{path}: is too large: more than {most / MIB:g} MiB")
    return data


def _number(words: str) -> float:
    if not math.isfinite(number := float(words)):
        raise ValueError(f"{words[:20]} is no finite number")
    return number


def _whole(words: str) -> int:
    if len(words) > len(str(-LARGEST)) or abs(number := int(words)) > LARGEST:
        raise ValueError(f"{words[:20]}... is larger than any number of a record")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:60]!a} stands twice in one object")
    return found


def _header(text: bytes) -> list[str]:
    """Return the names of a CSV file's columns; raises ValueError where one stands twice, or rows have other lengths."""
    first = text.partition(b"\n")[0]
    if len(first) > MIB:
        raise ValueError("its first line is too long")
    header = next(csv.reader([first.decode("utf-8").rstrip("\r")]), [])
    if len(set(header)) < len(header):
        raise ValueError("a column stands twice in its header")
    if b'"' not in text and not _rectangular(text, len(header) - 1):
        raise ValueError("its rows are not all of one length")
    return header


def _rectangular(text: bytes, commas: int) -> bool:
    """Return whether each line of a CSV text without quotes has so many commas: pandas fills in what a row lacks."""
    letters = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    ends, places = np.flatnonzero(letters == ord("\n")), np.flatnonzero(letters == ord(","))
    if len(places) != commas * len(ends):
        return False
    of_line = places.reshape(len(ends), -1)
    return commas <= 0 or bool((of_line[:, -1] < ends).all() and (of_line[1:, 0] > ends[:-1]).all())


def _unfit(values: pd.Series, whole: bool) -> str:
    """Return in words what is wrong with a column of numbers; nothing if it is one."""
    if not pd.api.types.is_numeric_dtype(values) or values.dtype.kind not in "iuf":
        numbers = pd.to_numeric(values, errors="coerce").isna() & values.notna()
        return f"must be a number, not {shown(str(values[numbers].iloc[0] if numbers.any() else values.iloc[0]))}"
    if whole and not (values.notna() & (values >= 0) & (values <= LARGEST) & (values % 1 == 0)).all():
        return "must be a whole number, at least 0, in every row"
    return ""


def _read_vectors(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    """Return vectors of one length by their names, and `step`; a vector that is not wanted is not read."""
    with opened(path) as file, parsing(path), zipfile.ZipFile(file) as archive:
        members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if not members:
            raise ValueError("it holds no vectors")
        wanted = ["step", *members] if columns is None else list(columns)
        if lacking := [name for name in wanted if name not in ("step", *members)]:
            raise RecordError(f"{path}: lacks the column {lacking[0]}")
        read = [name for name in wanted if name != "step"] or list(members)[:1]
        vectors = {name: _vector(archive, members[name]) for name in read}
        lengths = {len(vector) for vector in vectors.values()}
        if len(lengths) > 1:
            raise ValueError("its vectors are not all of one length")
        return pd.DataFrame({"step": np.arange(lengths.pop()), **vectors})[wanted]


def _vector(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.float32]:
    """Return a vector of float32 as `write_vectors` packs it; raises ValueError for any other member of an archive.

    It is not compressed, so it takes no more memory than its file; its own header is not trusted with a length.
    """
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{shown(entry.filename)} is compressed")
    stream = io.BytesIO(archive.read(entry))
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{shown(entry.filename)} is of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f4") or len(shape) != 1:
        raise ValueError(f"{shown(entry.filename)} is no vector of 32-bit numbers")
    vector: NDArray[np.float32] = np.frombuffer(stream.getbuffer(), dtype, offset=stream.tell())
    if len(vector) != shape[0]:
        raise ValueError(f"{shown(entry.filename)} is cut short")
    return vector
