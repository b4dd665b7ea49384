"""The self-check of a GPU does the same on a CPU, without graphs, and it finds faults."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import check as gpu_check
from harness.bench.random_images import random_images
from harness.data import batches
from harness.training import interleaving, step

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_passes_on_a_cpu_small_and_without_graphs(tmp_path, capsys):
    assert gpu_check.main(["--device", "cpu", "--quick", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    assert sum(isinstance(value, dict) and value["right"] for value in found.values()) >= 30
    assert found["minutes of Fig. 6, evaluations included"] > 0
    assert capsys.readouterr().out.endswith("0 of the checks failed\n")


def refuse(launches):
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def check(tmp_path, monkeypatch):
    images = random_images(500, 100)
    monkeypatch.setattr(batches, "source", lambda config: images)
    return gpu_check.Check("cpu", None, gpu_check.QUICK, tmp_path)


def test_it_finds_interleaved_runs_that_draw_from_one_stream_of_random_numbers(check, monkeypatch):
    monkeypatch.setattr(interleaving.torch, "set_rng_state", lambda state: None)
    gpu_check.check_interleaved(check)
    assert check.failed == [
        "interleaved against alone: dropout, norm=batch, bf16, survival=1",
        "interleaved against alone: identity, norm=batch, bf16, survival=0.5",
    ]


def test_it_finds_a_replay_that_misses_something(check, monkeypatch):
    """The replay does nothing, so the results are those of the last launched step."""
    monkeypatch.setattr(step, "can_record_graph", lambda device: True)
    monkeypatch.setattr(step, "record_graph", lambda launches: lambda: None)
    gpu_check.check_steps(check)
    assert [name for name in check.failed if "replayed, losses" in name]


def test_it_finds_steps_that_could_not_be_recorded(check, monkeypatch):
    """They are launched one by one instead, with correct but slow results; no other check would fail."""
    monkeypatch.setattr(step, "can_record_graph", lambda device: True)
    monkeypatch.setattr(step, "record_graph", refuse)
    check.recordable = True
    gpu_check.check_interruptions(check)
    assert set(check.failed) == {"8 dropout bf16: steps are recorded"}


def test_what_breaks_one_part_ends_no_other(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_check, "PARTS", {"first": lambda check: 1 / 0, "second": lambda check: check.say("second", 2, True)})
    assert gpu_check.main(["--device", "cpu", "--quick", "--json", str(tmp_path / "found.json")]) == 1
    found = json.loads((tmp_path / "found.json").read_text())["found"]
    assert found["first: ran to its end"] == {"found": "ZeroDivisionError", "right": False}
    assert found["second"] == {"found": 2, "right": True}
    assert capsys.readouterr().out.endswith("1 of the checks failed: first: ran to its end\n")


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.timeout(1200)
def test_it_passes_on_a_gpu():
    command = [sys.executable, "benchmarks/gpu/check.py", "--device", "cuda"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
