"""What the tests on clusters share."""

import pytest

from benchmarks import survival
from support.clusters import FOUR
from support.waiting import until


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The numbers of FOUR, trained on this machine."""
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    assert survival.start(results, FOUR).wait(300) == 0
    return survival.numbers(results)


@pytest.fixture
def launch(cluster, tmp_path, monkeypatch):
    """Return a function that starts a sweep on the module's Slurm, with its results; its jobs are cancelled in the end."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    results = tmp_path / "results"

    def start(*keys, sweep=FOUR):
        command = survival.start(results, [*sweep, "launcher=slurm", "launcher.workers=2", "launcher.minutes=30", *keys])
        return command, results

    yield start
    survival.end_all()
    cluster("scancel", "--signal=KILL", "--full", "--me", check=False)
    cluster("scancel", "--me", check=False)
    until(lambda: not cluster.tasks(), 60)
