"""The bench: metrics computed by hand, a reference that computes the same function, the steps of a run, and the report."""

import json
import platform
import resource
import sys

import pytest
import torch
from torch.nn import functional

from harness.bench import machine, metrics, report, results, targets, timing
from harness.bench.__main__ import main
from harness.bench.baseline import Reference
from harness.bench.measure import FULL, Form, growth, measure
from harness.bench.process import Child
from harness.bench.timing import Spread, interleaved, spread
from harness.bench.workload import LEARNING_RATE, Cell, Ours, work
from harness.data.batches import Batches, load
from harness.records import writer
from harness.training.devices import deterministic
from support.arithmetic import residual

STEP = {
    "size": 8,
    "shortcut": "identity",
    "depth": 20,
    "batch": 100,
    "threads": 2,
    "probed_share": 0.1,
    "flops": {"fp32": 40.0, "bf16": 40.0},
    "bytes": {"fp32": 10.0, "bf16": 5.0},
    "reference": [12.0, 20.0],
    "ours": {
        "fp32": {"step": [3.0, 4.0], "probed": [13.0, 14.0], "norms": [3.3, 5.0], "pipeline": [0.3, 0.2]},
        "bf16": {"step": [1.0, 2.0], "probed": [1.0, 2.0], "norms": [1.0, 2.0], "pipeline": [0.1, 0.2]},
    },
    "rates": {"fp32": [20.0, 16.0], "bf16": [80.0, 80.0], "copy": [5.0, 4.0]},
}
"""Steps of 4 and 5 seconds with their share of the probes, on a machine of 20 and 16 FLOPs a second."""
WORKERS = {"size": 8, "shortcut": "identity", "depth": 20, "batch": 100, "threads": 2, "seconds": {"one": [2.0], "two": [1.25]}}


def least(cell):
    return work(cell.config, cell.facts)


def net(depth, seconds, memory):
    about = {"size": 32, "shortcut": "identity", "depth": depth, "batch": 128, "threads": 2}
    return about | {"seconds": seconds, "memory": memory}


def result(**parts):
    found = {
        "steps": [STEP],
        "workers": [WORKERS],
        "growth": [net(20, [2.0, 2.0, 9.0], 10.0), net(1202, [132.22], 480.8)],
    } | parts
    machine = {"cpu": "a processor", "gpu": None, "threads": 2, "system": "a system", "python": "3", "packages": {"torch": "2"}}
    about = {"schema": 1, "form": "quick", "when": "2000-01-01T00:00+00:00", "seconds": 60.0, "command": "a command", "cores": 2}
    about |= {"bf16_arithmetic": True, "machine": machine | {"torch": {"cpu_capability": "AVX"}}, "notes": ["a note"]}
    start = net(20, {"import": [1.0], "build": [0.5], "first_step": [0.25], "total": [2.0]}, 0.0)
    about |= {"code": {"commit": "abc", "dirty": False}, "start_up": [start]}
    return about | found | {"targets": targets.judge(found)}


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (8, 1)])
@pytest.mark.parametrize("depth", [20, 56])
def test_the_flops_of_a_step_are_three_forward_passes_counted_from_the_papers_table(size, channels, depth):
    stages = [(depth - 2) // 6] * 3
    forward = residual(stages, 16, False, "none", size, 10, large=False, channels=channels).multiply_adds
    assert least(Cell(size, "identity", depth)).flops == 3 * 2 * 128 * forward


def test_the_least_traffic_of_a_step_is_what_the_passes_keep_and_the_optimiser_touches():
    """In bf16 the passes keep about half as much; five times the weights is what the optimiser reads and writes."""
    fp32, bf16 = (least(Cell(32, "none", 20, precision)).bytes for precision in ("fp32", "bf16"))
    one_map = 128 * 16 * 32 * 32 * 4
    kept = 19 * one_map  # at least every convolution's input, the maps of the later stages being smaller
    assert 2 * kept * (1 + 1 / 2 + 1 / 4) / 3 < fp32 < 2 * 3 * kept
    assert 0.45 * fp32 < bf16 < 0.6 * fp32


def test_figures_by_hand():
    found = metrics.step_figures(STEP, "fp32")
    assert metrics.whole_step(STEP["ours"]["fp32"], 0.1) == [4.0, 5.0]
    assert found["images_per_second"] == Spread(20.0, 22.5, 25.0, 2)
    assert found["matrix_share"] == Spread(0.5, 0.5, 0.5, 2)  # 10 of 20 and 8 of 16 FLOPs a second
    assert found["copy_share"] == Spread(0.5, 0.5, 0.5, 2)  # 2.5 of 5 and 2 of 4 bytes a second
    assert found["ratio"] == Spread(3.0, 3.5, 4.0, 2)
    assert found["norms"].max == pytest.approx(0.25)
    assert found["norms"].min == pytest.approx(0.1)
    assert found["pipeline"].median == pytest.approx((0.1 + 0.05) / 2)


def test_the_sweep_compares_each_net_with_its_own_reference():
    """One process takes 2 s and the reference 4.5 times as long, 9 s; two processes take 1.25 s, and with probes 1.615 s."""
    probes = (4 / 3 + 5 / 4) / 2
    assert metrics.sweep_ratio([STEP], [WORKERS]) == pytest.approx(4.5 * 2.0 / (probes * 1.25))
    assert metrics.sweep_ratio([STEP], []) is None


def test_growth_by_hand():
    rows = [net(20, [2.0, 2.0, 9.0], 10.0), net(1202, [132.22], 480.8)]
    found = metrics.per_layer(rows)
    assert found == {"seconds": [pytest.approx(0.1), pytest.approx(0.11)], "memory": [0.5, pytest.approx(0.4)]}
    assert metrics.departure(found["seconds"]) == pytest.approx(0.1)
    assert metrics.departure(found["memory"]) == pytest.approx(0.2)
    assert metrics.departure([1.0]) is None


def test_targets_are_met_not_met_or_not_measured():
    judged = {target["what"]: target for target in result()["targets"]}
    two_workers = judged["8x8: speed-up of two workers over one with two threads"]
    assert (two_workers["measured"], two_workers["met"], two_workers["bound"]) == (1.6, True, 1.35)
    assert judged["every layer's gradient norm at every step: added to a step"]["met"] is False  # fp32: 17.5 %
    assert judged["batches alone: share of a step"]["measured"] == pytest.approx(0.1)  # bf16, the worst of the two
    assert judged["32x32, 20 layers, bf16: share of the bf16 matrix rate"]["met"] is None
    assert [judged[name]["met"] for name in judged if "per layer" in name] == [True, False]
    bare = targets.judge({"steps": [], "workers": [], "growth": []})
    assert {target["met"] for target in bare} == {None}


def test_operations_take_turns_and_each_round_times_each(monkeypatch):
    """Operations of 1 s and 4 s, with 30 s each per round: 30 and 7 repetitions at a time."""
    clock, calls = [0.0], []

    def operation(name, seconds):
        def repeat(times):
            calls.append((name, times))
            clock[0] += seconds * times

        return repeat

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: None)
    found = interleaved({"short": operation("short", 1.0), "long": operation("long", 4.0)}, rounds=3, seconds=30.0)
    assert found == {"short": [1.0] * 3, "long": [4.0] * 3}
    assert calls[4:] == [("short", 30), ("long", 7), ("long", 7), ("short", 30), ("short", 30), ("long", 7)]


def test_a_spread_is_minimum_median_and_maximum():
    assert spread([5.0, 1.0, 2.0]) == Spread(1.0, 2.0, 5.0, 3)


@pytest.mark.parametrize("precision", machine.DTYPE)
def test_products_and_copies_count_their_flops_and_bytes(precision):
    repeat, flops = machine.product(torch.device("cpu"), precision, 1)
    repeat(1)
    assert flops == 2 * machine.SIDE["cpu"] ** 3
    repeat, moved = machine.copy(torch.device("cpu"), 1)
    repeat(1)
    assert moved == 2 * machine.COPIED["cpu"]


@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_the_reference_is_the_same_function_as_our_net(shortcut):
    """Equal weights and an equal batch give the loss, gradients and update of our own net, in float64 except for its logits.

    In float32 a value near 0 may fall on the other side of a ReLU in another layout, so gradients differ by about 0.1 %.
    """
    cell = Cell(8, shortcut, 20)
    ours, reference = Ours(cell).training, Reference(cell, workers=0)
    theirs, own = list(reference.model.parameters()), list(ours.model.parameters())
    assert [p.shape for p in theirs] == [p.shape for p in own]
    with torch.no_grad():
        for one, other in zip(theirs, own, strict=True):
            one.copy_(other)
    ours.model.double(), reference.model.double()
    batch = ours.stepper.batches.at(0)
    batch = batch._replace(images=batch.images.double())
    ours.stepper._rate.fill_(LEARNING_RATE)
    ours.stepper._update(batch)
    loss = ours.stepper._results[0, 0].item()
    reference.train(batch.images.contiguous(), batch.labels)
    assert reference.losses == [pytest.approx(loss, rel=1e-6)]
    assert reference.norms == [pytest.approx(p.grad.norm().item(), rel=1e-5) for p in own]
    for one, other in zip(theirs, own, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-8)


def test_the_reference_trains():
    reference = Reference(Cell(8, "identity", 8), workers=0)
    for group in reference.optimizer.param_groups:
        group["lr"] = 0.1
    reference.step(20)
    assert sum(reference.losses[-5:]) < 0.7 * sum(reference.losses[:5])


def test_the_reference_trains_on_the_same_images():
    """On digits without crop, its transform is the same affine map of the pixels for every image."""
    reference, data = Reference(Cell(8, "none", 8), workers=0), load(Cell(8, "none", 8).data, torch.device("cpu"))
    images = reference.loader.dataset
    images.transform.transforms[1:2] = []
    assert len(images) == len(data.train)
    for index in (0, 700):
        image, label = images[index]
        assert label == data.train.labels[index]
        assert torch.allclose(image, (data.train.images[index] / 255 - 0.5) / 0.25)


def test_our_steps_are_those_of_a_run():
    """The same data, order, net and losses as `Training` has by itself; probed steps leave rows of every layer."""
    cell = Cell(8, "none", 8)
    ours = Ours(cell)
    ours.step(2)
    ours.probed(1)
    ours.with_norms(1)
    training, fresh = ours.training, Ours(cell).training
    assert [row["step"] for row in training.recorder.steps] == [0, 1, 2]
    assert ours.watching.recorder.joined_norms().shape == (1, 8)
    assert [row["layer"] for row in training.recorder.probes["layers"]] == list(range(1, 9))
    batch = Batches(training.data.train, training.data.facts, 128, 0, augment=True).at(0)
    loss = functional.cross_entropy(fresh.model(batch.images), batch.labels).item()
    assert training.recorder.steps[0]["loss"] == pytest.approx(loss, rel=1e-6)
    assert training.stepper.optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.skipif(not (sys.platform == "linux" and platform.libc_ver()[0] == "glibc"), reason="counts pages of glibc")
def test_a_step_finds_the_memory_of_the_step_before(tmp_path):
    """Page faults per step after the first few: less than a tenth of what the passes keep."""
    cell = Cell(32, "identity", 8)
    with deterministic(cell.config):
        ours = Ours(cell)
        ours.step(5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        ours.step(5)
        found = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5
    kept = least(cell).bytes / 2 / resource.getpagesize()
    assert found < 0.1 * kept


def test_the_random_images_have_the_shape_of_cifar():
    facts = Cell(32, "none", 8).facts
    ours = Ours(Cell(32, "none", 8))
    batch = ours.training.stepper.batches.at(0)
    assert (facts.train, facts.padding, facts.flip) == (50_000, 4, True)
    assert batch.images.shape == (128, 3, 32, 32)
    assert ours.config.data.name == "random_32x32"
    assert ours.training.stepper.batches.per_epoch == 390


def test_the_report_shows_every_target_also_in_the_terminal(tmp_path):
    found = result()
    markdown, terminal = report.markdown(found), report.terminal(found)
    for text in (markdown, terminal):
        for target in found["targets"]:
            assert target["what"] in text
        assert "22.5 [20.0, 25.0]" in text  # images a second
        assert "1.60 [1.60, 1.60]" in text  # two workers
    assert "a note" in markdown
    assert markdown.count("not measured") == 4


def test_a_result_is_shown_again_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    writer.write_json(tmp_path / "one.json", result())
    assert main(["--from", "one.json", "--keep", "speed"]) == 0
    (folder,) = (tmp_path / "results" / "findings").iterdir()
    assert folder.name.endswith("-speed")
    assert json.loads((folder / "bench.json").read_text()) == json.loads((tmp_path / "one.json").read_text())
    assert (folder / "report.md").read_text().startswith("# How fast a training step is")
    assert "finding:" in capsys.readouterr().out
    assert main(["--from", "one.json", "--keep", "speed"]) == 2


@pytest.mark.parametrize("content", ["{}", "[", '{"schema": 0}'])
def test_a_file_without_a_result_is_refused(content, tmp_path, capsys):
    (tmp_path / "other.json").write_text(content)
    assert main(["--from", str(tmp_path / "other.json")]) == 2
    assert "other.json" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_a_missing_device_is_refused(capsys):
    assert main(["--device", "cuda", "--quick"]) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_a_net_that_does_not_fit_into_memory_is_left_out_of_the_growth(monkeypatch):
    messages = []
    monkeypatch.setattr("harness.system.memory.available", lambda: 100 * 2**20)
    assert growth([Cell(32, "identity", 20)], FULL, messages.append) == []
    assert messages == ["growth: depth 20 is left out, its steps may take 0.2 GiB"]


@pytest.mark.slow
def test_a_process_that_ends_too_early_is_reported():
    with Child({"size": 8, "shortcut": "none", "depth": 9}) as child, pytest.raises(ChildProcessError, match='"depth": 9'):
        child.ready()


@pytest.mark.slow
def test_a_tiny_measurement_from_end_to_end(tmp_path):
    """One round of everything on tiny digits nets: all numbers are present, and the report is made from them."""
    messages = []
    form = Form("tiny", (8,), (8,), 2, 0.01, (8, 14), 1, 1)
    found = measure("cpu", 2, form, "a command", messages.append)
    assert [row["shortcut"] for row in found["steps"]] == ["none", "identity"]
    assert all(
        value > 0 for row in found["steps"] for parts in row["ours"].values() for seconds in parts.values() for value in seconds
    )
    assert [row["depth"] for row in found["growth"]] == [8, 14]
    assert found["start_up"][0]["seconds"]["total"][0] > found["start_up"][0]["seconds"]["import"][0] > 0
    assert len(found["workers"]) == 2
    assert sum(target["met"] is not None for target in found["targets"]) == 4
    writer.write_json(tmp_path / "bench.json", found)
    assert report.markdown(results.read(tmp_path / "bench.json")) == report.markdown(found)
    assert "steps: 8x8, none, 8 layers" in messages
