"""Sweeps on a Slurm whose jobs are accounted for: each needs an account that its user may charge."""

import pytest

from benchmarks import survival
from support import slurm
from support.clusters import log, training
from support.waiting import until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not slurm.is_installed(accounting=True), reason="needs root, Slurm with slurmdbd, munge and MariaDB"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.cluster(tmp_path_factory.mktemp("slurm"), accounting=True) as running:
        yield running


def test_an_account_that_the_user_may_not_charge_is_one_sentence(launch):
    command, results = launch("launcher.account=nobody")
    assert command.wait(60) == 1
    assert "Invalid account" in log(results).splitlines()[-1]
    assert "Traceback" not in log(results)


def test_a_requeued_task_goes_on_to_the_same_bits_and_is_accounted_for(cluster, launch, undisturbed):
    command, results = launch("launcher.account=depth")
    until(lambda: len(training(results)) == 2)
    cluster("scontrol", "requeue", cluster.tasks("RUNNING")[0])
    assert command.wait(400) == 0
    assert survival.numbers(results) == undisturbed
    jobs = cluster("sacct", "--noheader", "--parsable2", "--allocations", "--format=Account,State", "--starttime=today").split()
    assert len([job for job in jobs if job.startswith("depth|")]) >= 2
