"""Records of earlier formats are read, including the committed findings; those of later formats are refused."""

import json
from pathlib import Path

import pytest

from harness.config.run import RunConfig
from harness.records import paths, writer
from harness.records.reader import RecordError, read_json
from harness.records.run import Run
from harness.records.upgrade import FORMAT, VERSIONED

FINDINGS = Path(__file__).resolve().parents[2] / "results" / "findings"
RUNS = sorted(path.parent for path in FINDINGS.glob("*/runs/*/config.json"))


def test_there_are_runs_of_the_first_format():
    assert len(RUNS) > 400
    assert sum("format" not in json.loads((run / paths.CONFIG).read_text()) for run in RUNS) > 400


def test_every_run_of_every_finding_is_read_and_has_the_identity_that_its_name_ends_with():
    """The hashes of old choices have not changed."""
    for folder in RUNS:
        run = Run(folder)
        assert run.state in ("done", "diverged")
        assert run.environment["runs_per_process"] >= 1 if "runs_per_process" in run.environment else True
        assert "gang" not in run.environment
        assert RunConfig.from_mapping(run.config).run_name() == run.name


@pytest.mark.parametrize("name", VERSIONED)
def test_what_is_written_states_its_format_and_is_read_without_it(name, tmp_path):
    content = json.loads((RUNS[0] / name).read_text())
    writer.write_json(tmp_path / name, content)
    assert json.loads((tmp_path / name).read_text())["format"] == FORMAT
    assert read_json(tmp_path / name) == content | {}


def test_the_first_format_counted_interleaved_runs_as_a_gang(tmp_path):
    content = json.loads((RUNS[0] / paths.ENVIRONMENT).read_text())
    (tmp_path / paths.ENVIRONMENT).write_text(json.dumps(content | {"gang": 3}))
    assert read_json(tmp_path / paths.ENVIRONMENT)["runs_per_process"] == 3


@pytest.mark.parametrize("wrong", [FORMAT + 1, 0, "2", True, None, 1.5])
def test_another_format_is_refused(wrong, tmp_path):
    (tmp_path / paths.STATUS).write_text(json.dumps({"state": "done", "format": wrong}))
    with pytest.raises(RecordError, match=r"status\.json: .*format: must be a whole number from 1 to"):
        read_json(tmp_path / paths.STATUS)
