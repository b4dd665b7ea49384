"""Committed findings agree with their own tables: numbers and verdicts are recomputed from the tables and compared."""

import json
import math
import shutil
from pathlib import Path

import pytest

from harness.analysis.tables import Tables
from harness.records import paths
from harness.reporting import verdict_sections

FINDINGS = Path(__file__).resolve().parents[2] / "results" / "findings"
SWEEPS = [folder for folder in sorted(FINDINGS.glob("*/")) if (folder / paths.SWEEP).is_file()]


def verdicts(folder):
    """Return the verdicts of a sweep's verdicts.json by (claim, settings as JSON)."""
    entries = json.loads((folder / paths.VERDICTS).read_text())["verdicts"]
    return {(entry["claim"], json.dumps(entry["settings"], sort_keys=True)): entry for entry in entries}


def same(left, right):
    """Return whether two JSON values are equal, floats within 1e-9: numpy versions differ in the order of summation."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (isinstance(left, float) and isinstance(right, float) and math.isclose(left, right, rel_tol=1e-9))


@pytest.mark.parametrize("finding", SWEEPS, ids=lambda path: path.name)
def test_the_verdicts_of_a_finding_are_those_of_its_tables(finding, tmp_path):
    """Compares verdict, runs, numbers, intervals and every seed's value for each claim of the finding."""
    copy = tmp_path / "findings" / finding.name
    shutil.copytree(finding, copy, ignore=shutil.ignore_patterns(paths.FIGURES, paths.REPORT_HTML, paths.VERDICTS))
    tables = Tables(copy)
    verdict_sections.write(tables, verdict_sections.judge(tables))
    committed, recomputed = verdicts(finding), verdicts(copy)
    assert committed
    for key, entry in committed.items():
        for name in ("verdict", "runs", "parts"):
            assert same(recomputed[key][name], entry[name]), (key, name)


def test_a_number_that_was_changed_by_hand_is_noticed(tmp_path):
    finding = next(folder for folder in SWEEPS if folder.name.endswith("demo"))
    copy = tmp_path / "findings" / finding.name
    shutil.copytree(finding, copy, ignore=shutil.ignore_patterns(paths.FIGURES, paths.REPORT_HTML))
    content = json.loads((copy / paths.VERDICTS).read_text())
    part = next(part for entry in content["verdicts"] for part in entry["parts"] if part["value"])
    part["value"] *= 1.001
    (copy / paths.VERDICTS).write_text(json.dumps(content))
    with pytest.raises(AssertionError):
        test_the_verdicts_of_a_finding_are_those_of_its_tables(copy, tmp_path / "again")
