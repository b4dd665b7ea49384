"""What is committed as evidence says what its own tables say: numbers and verdicts are made again from them and compared."""

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
    """Return what a sweep's verdicts.json says, by claim and setting."""
    listed = json.loads((folder / paths.VERDICTS).read_text())["verdicts"]
    return {(one["claim"], json.dumps(one["settings"], sort_keys=True)): one for one in listed}


def same(one, other):
    """Return whether two JSON values are equal, numbers but for the order of their sums in other versions of numpy."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-9))


@pytest.mark.parametrize("finding", SWEEPS, ids=lambda path: path.name)
def test_the_verdicts_of_a_finding_are_those_of_its_tables(finding, tmp_path):
    """Of every claim that the finding names: verdict, runs, numbers, intervals and each seed's value."""
    copy = tmp_path / "findings" / finding.name
    shutil.copytree(finding, copy, ignore=shutil.ignore_patterns(paths.FIGURES, paths.REPORT_HTML, paths.VERDICTS))
    tables = Tables(copy)
    verdict_sections.write(tables, verdict_sections.judge(tables))
    said, again = verdicts(finding), verdicts(copy)
    assert said
    for key, one in said.items():
        for name in ("verdict", "runs", "parts"):
            assert same(again[key][name], one[name]), (key, name)


def test_a_number_that_was_changed_by_hand_is_noticed(tmp_path):
    finding = next(folder for folder in SWEEPS if folder.name.endswith("demo"))
    copy = tmp_path / "findings" / finding.name
    shutil.copytree(finding, copy, ignore=shutil.ignore_patterns(paths.FIGURES, paths.REPORT_HTML))
    said = json.loads((copy / paths.VERDICTS).read_text())
    part = next(part for one in said["verdicts"] for part in one["parts"] if part["value"])
    part["value"] *= 1.001
    (copy / paths.VERDICTS).write_text(json.dumps(said))
    with pytest.raises(AssertionError):
        test_the_verdicts_of_a_finding_are_those_of_its_tables(copy, tmp_path / "again")
