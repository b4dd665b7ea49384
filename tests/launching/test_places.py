"""Where runs are put: on which of several GPUs, and on how many threads."""

from collections import Counter

import pandas as pd
import pytest
import torch

import harness
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.launching.launch import process_groups
from harness.launching.sweep import plan
from harness.records import paths
from harness.system.cores import threads_here
from support.helpers import tiny


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def placed(*overrides):
    return plan(list(overrides), True, []).configs


def test_runs_asked_for_on_two_gpus_are_shared_out_evenly(two_gpus):
    found = placed("device=cuda:0,cuda:1", "seed=0,1,2,3,4,5")
    assert [config.seed for config in found] == [0, 1, 2, 3, 4, 5]
    assert Counter(config.torch_device for config in found) == {"cuda:0": 3, "cuda:1": 3}
    assert found == placed("device=cuda:0,cuda:1", "seed=0,1,2,3,4,5")
    assert Counter(config.torch_device for config in placed("device=cuda:0,cuda:1", "seed=0,1", "depth=8")) == {
        "cuda:0": 1,
        "cuda:1": 1,
    }


def test_what_each_gpu_has_to_do_costs_the_same(two_gpus):
    """By depth: 110 on one; 56, 32 and 20 on the other."""
    found = placed("device=cuda:0,cuda:1", "depth=20,32,56,110")
    by_device = {
        config.torch_device: sorted(one.depth for one in found if one.torch_device == config.torch_device) for config in found
    }
    assert sorted(by_device.values()) == [[20, 32, 56], [110]]


def test_both_gpus_have_work_at_once(two_gpus):
    found = placed("device=cuda:0,cuda:1", "seed=0,1,2,3", "runs_per_process=1")
    made = process_groups(found)
    assert {group[0].torch_device for group in made[:2]} == {group[0].torch_device for group in made[2:]} == {"cuda:0", "cuda:1"}


def test_a_run_of_a_gpu_stays_there(two_gpus):
    assert {config.torch_device for config in placed("device=cuda:1", "seed=0,1")} == {"cuda:1"}
    assert len(placed("device=cpu,cuda:1", "seed=0,1")) == 4  # other numbers on each kind of device: other runs


def test_more_threads_than_openmp_starts_are_refused_since_torch_would_wait_for_them(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    with pytest.raises(ChoiceError, match="threads=2: OMP_THREAD_LIMIT=1"):
        harness.train(tiny(threads=2), tmp_path)
    assert threads_here("auto") == 1


def test_auto_threads_are_counted_where_the_run_is(monkeypatch, tmp_path):
    cores = harness.system.cores.available_cores()
    found = {}
    for allotted in (1, cores):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(allotted))
        done = harness.train(tiny(threads="auto"), tmp_path / str(allotted))
        found[allotted] = done.name
        assert done.environment["threads"] == allotted
        assert done.config["threads"] == "auto"
    assert len(set(found.values())) == 1
    assert RunConfig(threads="auto", device="cpu").run_name() != RunConfig(threads=cores, device="cpu").run_name()
    assert len(pd.read_csv(tmp_path / "1" / paths.RUNS / found[1] / paths.STEPS)) == 12
