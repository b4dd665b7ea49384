"""Results of a bench on disk: JSON of one schema, and findings made of it.

`schema` (SCHEMA), `form`, `when` (UTC), `seconds` (of the whole), `command`, `cores`, `bf16_arithmetic` (whether the device
has it), `machine` and `code` (harness.training.environment), `notes`; `steps`, `workers`, `growth`, `start_up` with a value a
round
(harness.bench.measure); in each row of `steps` its `figures` by precision, min, median, max (harness.bench.metrics); `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.bench import report
from harness.records import findings, paths, reader, writer
from harness.records.reader import RecordError

SCHEMA = 1
"""Raised when a key changes its meaning."""
BENCH = "bench.json"


def read(path: Path) -> dict[str, Any]:
    """Return a result that was written before; raises RecordError where it is none."""
    found = reader.read_json(path)
    if found.get("schema") != SCHEMA:
        raise RecordError(f"{path}: is no result of harness.bench, or one of another schema than {SCHEMA}")
    with reader.parsing(path):
        report.markdown(found)  # what a page can be made of
    return found


def keep(result: Mapping[str, Any], name: str, results: Path) -> Path:
    """Write a result and its page to findings/DATE-NAME; return that folder. Raises FileExistsError where it is one already."""
    with findings.filled(results, name) as (aside, finding):
        writer.write_json(aside / BENCH, result)
        writer.write_text(aside / paths.REPORT_MARKDOWN, report.markdown(result))
    return finding.resolve()
