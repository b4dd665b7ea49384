"""What the tests on clusters compare with."""

import pytest

from benchmarks import survival
from support.clusters import FOUR


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The numbers of FOUR, trained on this machine."""
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    assert survival.start(results, FOUR).wait(300) == 0
    return survival.numbers(results)
