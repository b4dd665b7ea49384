"""Read the results of a bench, and keep them as findings.

A result is a JSON object:

- `schema` (SCHEMA), `form`, `when` (UTC), `seconds` (in total), `command`, `cores`, `notes`
- `bf16_arithmetic`: whether the device computes in bfloat16
- `machine`, `code`: see `harness.training.environment`
- `steps`, `workers`, `growth`, `start_up`: rows with one value per round, see `harness.bench.measure`. Rows of `steps` also have
  `figures` by precision: min, median and max, see `harness.bench.metrics`
- `targets`: see `harness.bench.targets`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.bench import report
from harness.records import findings, paths, reader, writer
from harness.records.reader import RecordError

SCHEMA = 1
"""Increased when a key changes its meaning."""
BENCH = "bench.json"


def read(path: Path) -> dict[str, Any]:
    """Return a result. Raises RecordError if the file is not a result that can be reported."""
    result = reader.read_json(path)
    if result.get("schema") != SCHEMA:
        raise RecordError(f"{path}: must be a result of harness.bench with schema {SCHEMA}")
    with reader.parsing(path):
        report.markdown(result)
    return result


def keep(result: Mapping[str, Any], name: str, results: Path) -> Path:
    """Write a result and its report to findings/DATE-NAME; return that folder. Raises FileExistsError if it exists."""
    with findings.new_finding(results, name) as (aside, finding):
        writer.write_json(aside / BENCH, result)
        writer.write_text(aside / paths.REPORT_MARKDOWN, report.markdown(result))
    return finding.resolve()
