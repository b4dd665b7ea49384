"""The learning-rate trace of He et al. 2015, section 4.2, without training."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.data import DataConfig
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.probes.base import probe_steps
from harness.training.lr_schedule import evaluation_due, fixed_warmup_end, learning_rate, warmup_ends

PAPER = ScheduleConfig()


def trace(schedule, errors):
    """Return the learning rate of every step; batch k has a training error of errors(k) percent."""
    config = RunConfig(data=DataConfig("cifar10"), schedule=schedule)
    end, recent, rates = fixed_warmup_end(schedule), [], []
    for step in range(schedule.steps):
        if end is None and warmup_ends(schedule, step, recent):
            end = step
        rates.append(learning_rate(config, step, end))
        recent.append(errors(step))
        del recent[:-50]
    return rates


def test_20_layers():
    rates = trace(PAPER, lambda step: 90.0)
    assert len(rates) == 64_000
    assert rates[:32_000] == [0.1] * 32_000
    assert rates[32_000:48_000] == [0.01] * 16_000
    assert rates[48_000:] == [0.001] * 16_000


def test_110_layers_warm_up_until_the_training_error_is_below_80_and_then_go_on_as_the_others():
    """The error falls from 90 to 65 % at batch 400: the mean of the last 50 is below 80 % once 21 of them are at 65 %."""
    schedule = ScheduleConfig(warmup="until_error")
    rates = trace(schedule, lambda step: 90.0 if step < 400 else 65.0)
    warmup_end = rates.index(0.1)
    assert warmup_end == 400 + 21  # the mean of 29 at 90 and 21 at 65 is 79.5; of 30 and 20, 80.0
    assert rates[:warmup_end] == [0.01] * warmup_end
    assert rates[warmup_end:32_000] == [0.1] * (32_000 - warmup_end)
    assert rates[32_000:48_000] == [0.01] * 16_000
    assert rates[48_000:] == [0.001] * 16_000


def test_a_warm_up_by_error_waits_for_50_batches():
    rates = trace(ScheduleConfig(steps=200, warmup="until_error"), lambda step: 10.0)
    assert rates[:50] == [0.01] * 50
    assert rates[50] == 0.1


def test_a_warm_up_that_never_fires_ends_at_its_limit():
    limited = trace(ScheduleConfig(steps=4_000, warmup="until_error", warmup_max_steps=600), lambda step: 90.0)
    assert limited[599:601] == [0.01, 0.1]
    unlimited = trace(ScheduleConfig(steps=4_000, warmup="until_error"), lambda step: 90.0)
    assert unlimited[1_999:2_001] == [0.01, 0.01]  # ends at the first milestone, where the rate is a tenth of 0.1
    assert unlimited[2_999:3_001] == [0.01, 0.001]


def test_a_warm_up_of_a_fixed_count():
    rates = trace(ScheduleConfig(warmup="steps"), lambda step: 90.0)
    assert rates[399:401] == [0.01, 0.1]
    assert rates[31_999:32_001] == [0.1, 0.01]


@pytest.mark.parametrize(("steps", "first", "second"), [(64_000, 32_000, 48_000), (500, 250, 375), (3, 1, 2)])
def test_a_shortened_schedule_keeps_its_proportions(steps, first, second):
    assert ScheduleConfig(steps=steps).milestone_steps() == (first, second)


def test_no_milestones_and_own_milestones():
    assert set(trace(ScheduleConfig(steps=1000, milestones=[]), lambda step: 90.0)) == {0.1}
    rates = trace(ScheduleConfig(steps=1000, milestones=[10, 20, 30]), lambda step: 90.0)
    assert [rates[step] for step in (9, 10, 19, 20, 29, 30)] == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001, 0.0001])


@given(st.data())
def test_evaluations_are_every_so_many_steps_at_the_milestones_and_at_the_end(data):
    steps = data.draw(st.integers(1, 300))
    per_epoch = data.draw(st.integers(1, 400))
    every = data.draw(st.none() | st.integers(1, 400))
    milestones = data.draw(st.none() | st.sets(st.integers(1, steps - 1), max_size=4).map(sorted) if steps > 1 else st.none())
    schedule = ScheduleConfig(steps=steps, eval_every=every, milestones=milestones)
    listed = {*range(every or per_epoch, steps + 1, every or per_epoch), *schedule.milestone_steps(), steps}
    assert {step for step in range(1, steps + 1) if evaluation_due(schedule, per_epoch, step)} == listed


def test_steps_without_number_cost_nothing_beforehand():
    steps = 10**9  # the maximum
    schedule = ScheduleConfig(steps=steps)
    assert not evaluation_due(schedule, 391, 390)
    assert evaluation_due(schedule, 391, 391 * 10**6)
    assert evaluation_due(schedule, 391, steps // 2)
    assert evaluation_due(schedule, 391, steps)
    assert len(probe_steps(steps)) < 400
    assert probe_steps(steps)[-1] == steps
    assert probe_steps(sys.maxsize)[:12] == [*range(11), 13]
