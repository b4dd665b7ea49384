"""What the table of a sweep's progress says of a run that another host trains."""

import json
from dataclasses import asdict

import pytest

from harness.records import paths, progress, writer
from harness.records.run import create, write_status
from harness.system import locks
from harness.system.locks import Owner
from support.helpers import tiny


@pytest.mark.parametrize(("job", "where"), [("", "on node7"), ("4711", "on node7, job 4711")])
def test_a_run_on_another_host_says_which_host_and_job(job, where, tmp_path):
    run = create(tiny(), tmp_path)
    write_status(run, "running", step=3, steps=12)
    sweep = tmp_path / paths.SWEEPS / "one"
    sweep.mkdir(parents=True)
    writer.write_json(sweep / paths.SWEEP, {"experiment": "none", "command": "", "runs": [run.name]})
    lock = paths.lock(tmp_path, run.name)
    lock.parent.mkdir()
    lease = lock.with_name(f"{lock.name}.0123456789abcdef")
    lease.write_text(json.dumps(asdict(Owner("node7", "another boot", 12, "34", job))) + locks.HELD)
    line = progress.table(progress.read_progress(sweep))[1]
    assert line.split("  ")[0] == run.name
    assert line.endswith(f"  {where}")


def test_a_run_of_this_host_says_nothing_of_it(tmp_path):
    run = create(tiny(), tmp_path)
    sweep = tmp_path / paths.SWEEPS / "one"
    sweep.mkdir(parents=True)
    writer.write_json(sweep / paths.SWEEP, {"experiment": "none", "command": "", "runs": [run.name]})
    with locks.try_lock(paths.lock(tmp_path, run.name)):
        write_status(run, "running", step=3, steps=12)
        assert progress.table(progress.read_progress(sweep))[1].split() == [run.name, "running", "3", "of", "12"]
