"""A run whose process is lost is trained again, until three losses in a row bring no progress."""

import os

import pytest

from harness.launching import job
from harness.records import paths
from harness.records.run import create
from support.helpers import tiny


@pytest.fixture
def run(tmp_path):
    config = tiny()
    created = create(config, tmp_path)
    job.write(created, config, "the command")
    return created


def test_a_run_that_was_lost_after_a_checkpoint_can_be_taken_again(run):
    (run.folder / paths.CHECKPOINT).touch()
    job.record_loss(run, "its process was lost")
    assert run.state == "interrupted"
    assert job.read(run).command == "the command"


def test_three_losses_without_progress_end_a_run(run):
    for _ in range(2):
        job.record_loss(run, "its process was lost")
        assert job.is_left(run)
    job.record_loss(run, "its process was lost")
    assert not job.is_left(run)
    assert (run.state, run.status["error"]) == ("killed", "its process was lost; so it was 3 times without progress")


def test_a_checkpoint_between_two_losses_is_progress(run):
    for number in range(5):
        (run.folder / paths.CHECKPOINT).touch()
        os.utime(run.folder / paths.CHECKPOINT, (number, number + 0.25))
        job.record_loss(run, "its process was lost")
        assert job.is_left(run)
