"""Runs interleaved in one process are bit-identical to solo runs, and one run's failure never affects another."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from harness import run
from harness.config.execution import ExecutionConfig
from harness.config.registry import SHORTCUT
from harness.config.run import ChoiceError, RunConfig
from harness.launching import job
from harness.launching.job import Job
from harness.launching.worker import RUNS_PER_GPU_PROCESS, Queue, train_job
from harness.models.shortcuts import Identity
from harness.records import paths, states
from harness.records.run import Run, create
from harness.system.signals import Stop
from harness.training.interleaving import interleave
from harness.training.train import train
from support.helpers import KEYS, rarely, tiny, tiny_schedule
from support.interruption import SUICIDE, StopAfter
from support.on_a_gpu import content, imitate_gpu

ROOT = Path(__file__).resolve().parents[2]
UNTIL = tiny_schedule(steps=60, milestones=(), warmup="until_error", warmup_learning_rate=0.02, warmup_max_steps=55)
MEMBERS = [
    tiny(shortcut="dropout", gradient_norms="every"),  # this and the next draw from torch's global generator
    tiny(survival=0.5, seed=1),
    tiny(schedule=UNTIL),
    tiny(precision="bf16", threads=2, depth=14),
    tiny(norm="none", schedule=tiny_schedule(steps=60, learning_rate=20.0)),  # diverges
]


def together(configs, results, stop=None):
    """Train the configs interleaved in this process; return their states."""
    jobs = [Job(create(config, results), config, "made by hand") for config in configs]
    return interleave([train_job(each, Stop() if stop is None else stop, len(jobs)) for each in jobs])


def runs_of(configs, results):
    return [Run(paths.run_folder(results, config.run_name())) for config in configs]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    results = tmp_path_factory.mktemp("alone")
    return [train(config, results) for config in MEMBERS]


@pytest.mark.parametrize("windows", [False, True], ids=["step by step", "as on a GPU"])
def test_each_member_is_to_the_bit_the_run_alone(windows, alone, tmp_path, monkeypatch):
    if windows:
        imitate_gpu(monkeypatch)
    rng_state, threads = torch.get_rng_state(), torch.get_num_threads()
    states = together(MEMBERS, tmp_path)
    assert states == [single.state for single in alone] == ["done", "done", "done", "done", "diverged"]
    for member, single in zip(runs_of(MEMBERS, tmp_path), alone, strict=True):
        assert content(member) == content(single)
        assert (member.environment["runs_per_process"], single.environment["runs_per_process"]) == (5, 1)
        member.check()
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert torch.get_num_threads() == threads


def test_they_take_turns_and_each_log_is_of_its_own_run(tmp_path, caplog):
    configs = [tiny(seed=seed) for seed in range(3)]
    assert together(configs, tmp_path) == ["done"] * 3
    names = [config.run_name() for config in configs]
    order = [record.getMessage().partition(":")[0] for record in caplog.records if "step 6 of 12" in record.getMessage()]
    first_to_end = next(index for index, record in enumerate(caplog.records) if "step 12 of 12" in record.getMessage())
    assert order == names  # all reached step 6 before any finished
    assert sum("step 6 of 12" in record.getMessage() for record in caplog.records[:first_to_end]) == 3
    for name in names:
        lines = (paths.run_folder(tmp_path, name) / paths.LOG).read_text().splitlines()
        assert len(lines) == 3
        assert all(f" {name}: step " in line for line in lines)


def test_a_member_that_fails_costs_no_other(alone, tmp_path):
    class Failing(Identity):
        passes = 0

        def forward(self, x, branch):
            self.passes += 1
            if self.passes == 5:
                raise RuntimeError("no way through")
            return super().forward(x, branch)

    SHORTCUT.register("failing-for-a-test", "fails in its fifth pass")(Failing)
    try:
        configs = [MEMBERS[0], tiny(shortcut="failing-for-a-test"), MEMBERS[1]]
        assert together(configs, tmp_path) == ["done", "failed", "done"]
    finally:
        SHORTCUT.sentences.pop("failing-for-a-test")
    first, failed, last = runs_of(configs, tmp_path)
    assert failed.status["error"] == "RuntimeError: no way through"
    assert "Traceback" in (failed.folder / paths.LOG).read_text()
    assert "Traceback" not in (first.folder / paths.LOG).read_text()
    assert content(first) == content(alone[0])
    assert content(last) == content(alone[1])


@pytest.mark.parametrize("looks", [20, *rarely(3, 70)])
def test_interleaved_runs_that_are_stopped_are_saved_and_resume_to_the_same_bits(looks, alone, tmp_path):
    ended = together(MEMBERS, tmp_path, StopAfter(looks))
    assert states.INTERRUPTED in ended
    assert set(ended) <= {states.INTERRUPTED, *states.FINISHED}
    for member, state in zip(runs_of(MEMBERS, tmp_path), ended, strict=True):
        assert (member.folder / paths.CHECKPOINT).exists() == (state == states.INTERRUPTED)
    together(MEMBERS, tmp_path)
    for member, single in zip(runs_of(MEMBERS, tmp_path), alone, strict=True):
        assert content(member) == content(single)


def test_a_sweep_of_interleaved_runs_is_the_sweep_of_single_runs(tmp_path, capsys):
    sweep = ["-m", "depth=8,14", "shortcut=none,identity", "launcher=inline", *KEYS]
    for number in (1, 3):
        assert run.main([*sweep, f"runs_per_process={number}", f"results={tmp_path / str(number)}"]) == 0
    assert capsys.readouterr().out.count(" done ") == 8
    single, interleaved = (sorted((tmp_path / number / paths.RUNS).iterdir()) for number in ("1", "3"))
    assert [folder.name for folder in single] == [folder.name for folder in interleaved]
    for folder, other in zip(single, interleaved, strict=True):
        assert content(Run(folder)) == content(Run(other))
    assert sorted(Run(folder).environment["runs_per_process"] for folder in interleaved) == [1, 3, 3, 3]


BROKEN = """
from harness.training import devices
from harness.config.registry import SHORTCUT
from harness.models.shortcuts import Identity

@SHORTCUT.register("deadly", "fails, and takes the device along")
class Deadly(Identity):
    def forward(self, x, branch):
        devices.is_alive = lambda device: False
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
"""


@pytest.mark.parametrize(("plugin", "state"), [(SUICIDE, "killed"), (BROKEN, "failed")])
def test_after_the_loss_of_a_process_or_device_each_run_is_trained_alone_and_one_is_to_blame(plugin, state, tmp_path):
    (tmp_path / "deadly.py").write_text(plugin)
    keys = ["plugins=[deadly]", "shortcut=none,deadly,identity", "depth=8", *KEYS, "runs_per_process=3", "results=results"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "harness.run", "-m", *keys]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("it is launched again") == (1 if state == "failed" else 4), done.stderr
    runs = {folder.name.split("-")[1]: Run(folder) for folder in (tmp_path / "results" / "runs").iterdir()}
    assert {name: run.state for name, run in runs.items()} == {"none": "done", "deadly": state, "identity": "done"}
    assert ("illegal memory access" if state == "failed" else "SIGKILL") in runs["deadly"].status["error"]
    assert not list((tmp_path / "results").glob(".locks/*"))


def taken(configs, results, gpu=None):
    """Return what workers take in turn from the runs of these configs, one batch per worker."""
    folders = []
    for config in configs:
        job.write(create(config, results), config, "made by hand")
        folders.append(paths.run_folder(results, config.run_name()))
    batches, queue = [], Queue(folders, attached=False, gpu=gpu)
    with ExitStack() as held:
        while batch := queue.take(held):
            batches.append([taken.config for taken in batch])
    return batches


def test_runs_that_share_a_process_have_one_device_and_the_requested_number(tmp_path):
    def sizes(configs, name):
        return [len(batch) for batch in taken(configs, tmp_path / name)]

    assert sizes([tiny(seed=seed) for seed in range(5)], "alone") == [1] * 5
    assert sizes([tiny(seed=seed, execution=ExecutionConfig(runs_per_process=2)) for seed in range(5)], "pairs") == [2, 2, 1]
    on_gpu = [RunConfig(8, device="cuda", seed=seed) for seed in range(6)]
    assert sizes(on_gpu, "gpu") == [RUNS_PER_GPU_PROCESS, 6 - RUNS_PER_GPU_PROCESS]
    eight = ExecutionConfig(runs_per_process=8)
    kinds = [RunConfig(8, device=device, seed=seed, execution=eight) for seed in range(2) for device in ("cpu", "cuda")]
    assert sorted([config.device for config in batch] for batch in taken(kinds, tmp_path / "kinds")) == [
        ["cpu"] * 2,
        ["cuda"] * 2,
    ]


def test_a_worker_of_one_gpu_takes_its_runs_and_those_of_any(tmp_path):
    configs = [RunConfig(8, device=device, seed=seed) for seed, device in enumerate(("cuda:0", "cuda:1", "cuda"))]
    (batch,) = taken(configs, tmp_path, gpu=1)
    assert {config.seed for config in batch} == {1, 2}
    assert {config.torch_device for config in batch} == {"cuda"}  # the only one that the worker sees


def test_runs_per_process_is_no_part_of_the_identity():
    config = tiny(execution=ExecutionConfig(runs_per_process=4))
    assert config.identity() == tiny().identity()
    assert "execution" not in config.choices()
    assert RunConfig.from_mapping(json.loads(json.dumps(config.choices()))) == tiny()
    for wrong in (0, "many", 1.5):
        with pytest.raises(ChoiceError, match=f"runs_per_process={wrong}: must be a whole number of at least 1, or auto"):
            tiny(execution=ExecutionConfig(runs_per_process=wrong))
