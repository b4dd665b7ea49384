"""Where runs are put: on which of several GPUs, and on how many threads."""

import subprocess
from collections import Counter

import pandas as pd
import pytest
import torch

import harness
from harness.config.launcher import LocalConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.launching import job, worker
from harness.launching.local import Local
from harness.planning.sweep import plan
from harness.records import paths
from harness.records.run import create
from harness.system.cores import threads_here
from harness.system.signals import Stop
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


def test_a_run_goes_where_the_run_is_that_it_starts_from(two_gpus):
    found = placed("device=cuda:0,cuda:1", "start_from=8", "depth=14,20", "shortcut=none", "seed=0,1")
    assert {config.depth for config in found} == {8, 14, 20}
    assert {len({config.torch_device for config in found if config.seed == seed}) for seed in (0, 1)} == {1}
    assert Counter(config.torch_device for config in found) == {"cuda:0": 3, "cuda:1": 3}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Return a function that starts as many workers as a local engine has room for, and gives the GPUs that each sees."""
    started = []

    class Worker:
        returncode, pid, stdin = 0, 0, None

        def poll(self):
            return None

        def wait(self, seconds):
            return 0

    def popen(command, env, **_):
        assert command[-1] == str(tmp_path / paths.SWEEPS / "some")
        started.append((env["CUDA_VISIBLE_DEVICES"], command[command.index("--gpu") + 1]))
        return Worker()

    def start(configs, workers="auto", ended=()):
        for config in configs:
            if config not in ended:
                job.write(create(config, tmp_path), config, "")
        engine = Local(LocalConfig("local", workers), tmp_path / paths.SWEEPS / "some", configs, False)
        monkeypatch.setattr(subprocess, "Popen", popen)
        engine.start(engine.most)
        return started

    return start


def test_each_gpu_has_a_process_that_sees_it_alone(engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    configs = [RunConfig(8, device="cuda", seed=seed) for seed in range(10)]
    assert engine(configs) == [(str(number), str(number)) for number in range(8)]


@pytest.mark.parametrize(("runs", "together"), [(8, 1), (10, 1), (16, 2), (32, 4), (100, 4)])
def test_runs_share_a_gpu_only_if_every_gpu_has_as_many(runs, together, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    configs = [RunConfig(8, device="cuda", seed=seed) for seed in range(runs)]
    engine = Local(LocalConfig("local", "auto"), tmp_path, configs, False)
    assert engine.together == together
    assert f"--together={together}" in engine.command()
    queue = worker.Queue([], attached=True, gpu=None, together=engine.together)
    assert queue._kind(configs[0])[-1] == together


def test_processes_of_some_gpus_see_them_by_their_own_names(engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    configs = [RunConfig(8, device=f"cuda:{number}", seed=number) for number in (0, 2)]
    assert engine(configs, workers=4) == [("GPU-a", "0"), ("GPU-c", "2")] * 2


def test_no_process_is_started_on_a_gpu_that_no_run_waits_for(engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    configs = [RunConfig(8, device=f"cuda:{seed % 2}", seed=seed) for seed in range(4)]
    assert engine(configs, ended=configs[::2]) == [("1", "1")] * 2


def test_no_process_is_started_where_no_run_waits(engine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    configs = [RunConfig(8, device=f"cuda:{number}", seed=number) for number in (0, 1)]
    assert engine(configs, ended=configs) == []


def test_a_run_of_a_gpu_stays_there(two_gpus):
    assert {config.torch_device for config in placed("device=cuda:1", "seed=0,1")} == {"cuda:1"}
    assert len(placed("device=cpu,cuda:1", "seed=0,1")) == 4  # other numbers on each kind of device: other runs


def test_more_threads_than_openmp_starts_are_refused_since_torch_would_wait_for_them(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    with pytest.raises(ChoiceError, match="threads=2: OMP_THREAD_LIMIT=1"):
        harness.train(tiny(threads=2), tmp_path)
    assert threads_here("auto") == 1


def test_a_worker_leaves_a_run_that_openmp_would_make_wait_forever_to_others(monkeypatch, tmp_path, caplog):
    prepared = create(tiny(threads=2), tmp_path)
    job.write(prepared, tiny(threads=2), "")
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    assert worker.work([prepared.folder], attached=False, gpu=None, wait=False, stop=Stop()) == worker.REFUSED
    assert "threads=2: OMP_THREAD_LIMIT=1" in caplog.text
    assert (prepared.state, job.is_left(prepared)) == ("waiting", True)


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
