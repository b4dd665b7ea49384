"""The objective of a search: which results it may be, and what a run without a result or with that of a guess scores."""

import math

import pytest

from harness.analysis.objective import OBJECTIVES, check, score
from harness.config.registry import ChoiceError
from harness.records import paths, states
from harness.records.run import Run, create, write_status
from support.fabricate import digits, finish, steps


def test_objectives_are_the_numeric_results():
    assert set(OBJECTIVES) == {
        *("train_error", "test_error", "holdout_error", "batch_error", "train_loss", "seconds", "parameters", "warmup_end")
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_eror", "did you mean test_error"),
        ("status", "allowed: train_error"),
        ("depth", "allowed: train_error"),
        ("holdout_error", "needs data.split=holdout"),
        ("warmup_end", "needs schedule.warmup=until_error"),
    ],
)
def test_another_objective_is_refused(name, words):
    with pytest.raises(ChoiceError, match=words):
        check(name, digits(20, "none").flat())


def test_a_finished_run_scores_its_result(tmp_path):
    run = Run(paths.run_folder(tmp_path, finish(tmp_path, digits(20, "none"), 12.5, 25.0)))
    assert [score(run, name) for name in ("train_error", "test_error", "parameters")] == [12.5, 25.0, 1.0]
    assert score(run, "warmup_end") is None


def test_a_diverged_run_scores_a_guess(tmp_path):
    """Ten classes: nine guesses of ten are wrong, at a loss of ln(10), whatever the batches before were."""
    config = digits(20, "none")
    table = steps(config, error=[10.0, 20.0])
    run = Run(paths.run_folder(tmp_path, finish(tmp_path, config, 90.0, 90.0, states.DIVERGED, table)))
    assert score(run, "test_error") == score(run, "train_error") == score(run, "batch_error") == 90.0
    assert score(run, "train_loss") == pytest.approx(math.log(10))


def test_a_run_that_diverged_early_wins_no_search_for_the_least_seconds(tmp_path):
    config = digits(20, "none")
    run = Run(paths.run_folder(tmp_path, finish(tmp_path, config, 90.0, 90.0, states.DIVERGED, steps(config, error=[10.0]))))
    assert score(run, "seconds") is None


def test_a_run_that_is_not_finished_scores_nothing(tmp_path):
    run = create(digits(20, "none"), tmp_path)
    assert score(run, "test_error") is None
    write_status(run, states.FAILED, error="of its own")
    assert score(run, "test_error") is None
    assert score(Run(tmp_path / "missing"), "test_error") is None
