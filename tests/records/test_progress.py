"""What the table of a sweep's progress says of a run that another host trains."""

import json
import os
import time
from dataclasses import asdict

import pytest

from harness.records import paths, progress, writer
from harness.records.run import create, write_status
from harness.system import locks
from harness.system.owner import Owner
from support.helpers import tiny


def sweep_of(run):
    """Return the folder of a sweep of this run, which is being trained."""
    write_status(run, "running", step=3, steps=12)
    sweep = run.folder.parent.parent / paths.SWEEPS / "one"
    sweep.mkdir(parents=True)
    writer.write_json(sweep / paths.SWEEP, {"experiment": "none", "command": "", "runs": [run.name]})
    return sweep


def lease_on_node7(run, job):
    lock = paths.lock(run.folder.parent.parent, run.name)
    lock.parent.mkdir()
    lease = lock.with_name(f"{lock.name}.0123456789abcdef")
    lease.write_text(json.dumps(asdict(Owner("node7", "another boot", 12, "34", job))) + locks.HELD)
    return lease


@pytest.mark.parametrize(("job", "where"), [("", "on node7"), ("4711", "on node7, job 4711")])
def test_a_run_on_another_host_says_which_host_and_job(job, where, tmp_path):
    run = create(tiny(), tmp_path)
    lease_on_node7(run, job)
    line = progress.table(progress.read_progress(sweep_of(run)))[1]
    assert line.split("  ")[0] == run.name
    assert line.endswith(f"  {where}")


def test_a_host_that_has_been_silent_for_long_is_named(tmp_path):
    run = create(tiny(), tmp_path)
    half_an_hour_ago = time.time() - 1800
    os.utime(lease_on_node7(run, ""), (half_an_hour_ago, half_an_hour_ago))
    line = progress.table(progress.read_progress(sweep_of(run)))[1]
    assert line.endswith("  on node7, no sign of life for 30 min")


def test_a_run_of_this_host_says_nothing_of_it(tmp_path):
    run = create(tiny(), tmp_path)
    with locks.try_lock(paths.lock(tmp_path, run.name)):
        line = progress.table(progress.read_progress(sweep_of(run)))[1]
        assert line.split() == [run.name, "running", "3", "of", "12"]
