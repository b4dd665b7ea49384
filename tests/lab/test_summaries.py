"""Statistics of the lab, on records made by hand."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from harness.lab import summaries


def steps(losses):
    return SimpleNamespace(steps=pd.DataFrame({"step": range(len(losses)), "loss": losses}))


def test_steps_to_a_loss_counts_updates_until_the_mean_of_ten_is_below():
    """Nine losses of 1 and then zeros: the mean of the last ten first falls below 0.55 with five zeros, after 14 steps."""
    assert summaries.steps_to(steps([1.0] * 9 + [0.0] * 20), 0.55) == 14
    assert summaries.steps_to(steps([1.0] * 30), 0.55) == math.inf


def test_a_gradient_s_ratio_is_first_over_last_block_and_the_median_over_steps():
    rows = [(0, 0, 8.0), (0, 2, 2.0), (1, 0, 1.0), (1, 2, 1.0), (2, 0, 30.0), (2, 2, 10.0), (3, 0, 2.0), (3, 2, 1.0)]
    run = SimpleNamespace(blocks=pd.DataFrame(rows, columns=["step", "block", "grad_norm"]))
    assert summaries.gradient_ratio(run, summaries.INITIAL) == 4
    assert summaries.gradient_ratio(run, (1, 3)) == 2
    assert math.isnan(summaries.gradient_ratio(run, (5, 9)))


@pytest.mark.parametrize(
    ("first", "ending"),
    [({0: 5.0, 1: 5.1, 2: 4.9}, "more"), ({0: 1.0, 1: 1.1, 2: 0.9}, "less"), ({0: 9.0, 1: 3.0, 2: 0.0}, "same")],
)
def test_a_difference_counts_only_if_its_interval_excludes_zero(first, ending):
    """Against 3, 3.1 and 2.9: 2 and -2 without scatter, and 1 with a standard deviation of 4.6 (t = 4.30)."""
    assert summaries.compare("dense.true_flops", first, {0: 3.0, 1: 3.1, 2: 2.9}) == f"dense.true_flops.{ending}"


def test_a_diverged_run_s_gradients_are_left_out_of_medians():
    assert summaries.magnitudes([1e-5, math.nan, 3e-5]) == "2e-05 [1e-05, 3e-05]"
    assert summaries.magnitudes([math.nan]) == ""
