"""Foreign runs: what trackers wrote is read back exactly, means and intervals are those worked by hand, and nothing is hidden."""

import importlib
import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec

import pandas as pd
import pytest

from harness.importing import aggregate, foreign, wandb_files
from harness.records import paths

command = importlib.import_module("harness.import")
T95 = 12.706204736174694
"""The 97.5 % quantile of Student's t with one degree of freedom (tables: 12.71)."""


def write_run(folder, text, **choices):
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(text)
    if choices:
        (folder / "config.json").write_text(json.dumps(choices))


@pytest.fixture
def runs(tmp_path):
    """Two learning rates with two seeds each; the second rate's seeds share step 0 alone."""
    write_run(tmp_path / "runs" / "a", "step,loss\n0,4\n1,1\n", lr=0.1, seed=1)
    write_run(tmp_path / "runs" / "b", "step,loss\n0,6\n1,1\n", lr=0.1, seed=2)
    write_run(tmp_path / "runs" / "c", "step,loss\n0,1\n1,2\n", lr=0.01, seed=1)
    write_run(tmp_path / "runs" / "d", "step,loss\n0,3\n2,nan\n", lr=0.01, seed=2)
    return tmp_path / "runs"


def imported(runs, *options, expect=0):
    out = runs.parent / "out"
    assert command.main([str(runs), "--out", str(out), *options]) == expect
    return pd.read_csv(out / "aggregated.csv"), (out / paths.REPORT_MARKDOWN).read_text()


def test_means_and_intervals_are_those_worked_by_hand(runs):
    """4 and 6: mean 5, standard error 1. 1 and 1: an interval of zero width."""
    table, text = imported(runs)
    assert list(table) == ["metric", "group", "step", "n", "mean", "low", "high"]
    first, second, third = table.to_dict("records")
    assert first == {
        **{"metric": "loss", "group": "lr=0.1", "step": 0, "n": 2, "mean": 5.0},
        **{"low": pytest.approx(5 - T95), "high": pytest.approx(5 + T95)},
    }
    assert (second["step"], second["mean"], second["low"], second["high"]) == (1, 1.0, 1.0, 1.0)
    assert (third["group"], third["step"], third["mean"]) == ("lr=0.01", 0, 2.0)
    assert "lr=0.01: steps left out because not every run has a value there: 2." in text
    assert "![loss](figures/1-loss.png)" in text
    page = (runs.parent / "out" / paths.REPORT_HTML).read_text()
    assert "Horizontal: step, 0 to 1. Vertical: loss" in page
    assert "Lines: lr=0.1, lr=0.01." in page


def test_a_value_that_is_not_finite_is_left_out_and_said(tmp_path):
    write_run(tmp_path / "runs" / "seed=1", "step,loss\n0,4\n1,inf\n2,nan\n3,1e200\n4,1\n")
    write_run(tmp_path / "runs" / "seed=2", "step,loss\n0,6\n1,1\n2,1\n3,1\n4,1\n")
    table, text = imported(tmp_path / "runs")
    assert list(table["step"]) == [0, 4]
    assert "steps left out because the value of a run is NaN or infinite there: 3" in text


def test_a_single_seed_has_no_interval(tmp_path):
    write_run(tmp_path / "runs" / "only", "step,loss\n0,4\n")
    table, text = imported(tmp_path / "runs")
    assert table["low"].isna().all()
    assert table["n"].tolist() == [1]
    assert "No run has a key seed: each run counts as a seed." in text


def test_runs_of_equal_seed_and_runs_without_a_metric_are_named(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, "step,loss\n0,4\n", seed=1)
    write_run(tmp_path / "runs" / "c", "step,accuracy\n0,4\n", seed=2)
    _, text = imported(tmp_path / "runs")
    assert "all runs: 2 runs have seed=1, and count as 2 seeds." in text
    assert "all runs: runs without this metric: 1 of 3." in text


def test_values_that_differ_in_the_last_digit_are_two_groups(tmp_path):
    for name, rate in (("a", 0.1), ("b", 0.1 + 1e-16)):
        write_run(tmp_path / "runs" / name, "step,loss\n0,4\n", lr=rate)
    assert set(imported(tmp_path / "runs")[0]["group"]) == {"lr=0.1", "lr=0.1000000000000001"}


def test_groups_seeds_and_metrics_can_be_chosen(tmp_path):
    for lr in (0.1, 0.01):
        for trial in (1, 2):
            name = f"lr={lr}/trial={trial}"
            write_run(tmp_path / "runs" / name, f"step,loss,accuracy\n0,{trial},{lr}\n", host=f"host{trial}", net={"depth": 8})
    table, _ = imported(tmp_path / "runs", "--group", "lr", "net.depth", "--seed", "trial", "--metric", "accuracy")
    assert list(zip(table["metric"], table["group"], table["n"], strict=True)) == [
        ("accuracy", "lr=0.01, net.depth=8", 2),
        ("accuracy", "lr=0.1, net.depth=8", 2),
    ]


def test_layouts_of_csv(tmp_path):
    """Lightning: hparams.yaml, sparse rows. Keras: epochs, text. Files without a folder. The last value of a step counts."""
    lightning = tmp_path / "lightning_logs" / "version_0"
    write_run(lightning, "epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,2.5\n0,9,0.1,\n")
    (lightning / "hparams.yaml").write_text("lr: 0.1\nnet:\n  depth: 8\n")
    (run,), troubles = foreign.read_runs(tmp_path / "lightning_logs")
    assert run == foreign.ForeignRun(
        "version_0", {"lr": 0.1, "net.depth": 8}, {"train_loss": {9: 0.1}, "val_loss": {9: 2.5}}, "CSV"
    )
    assert troubles == {}
    keras = tmp_path / "keras"
    keras.mkdir()
    (keras / "lr=0.1,seed=3.csv").write_text("epoch,accuracy,note\n0,0.5,first\n1,0.75,\n")
    (run,), _ = foreign.read_runs(keras)
    assert (run.choices, run.metrics) == ({"lr": 0.1, "seed": 3}, {"accuracy": {0: 0.5, 1: 0.75}})
    several = tmp_path / "several" / "run"
    write_run(several, "step,loss\n0,1\n")
    (several / "test.csv").write_text("step,loss\n0,2\n")
    (several / "about.csv").write_text("name,value\nx,1\n")
    (run,), _ = foreign.read_runs(tmp_path / "several")
    assert run.metrics == {"metrics/loss": {0: 1.0}, "test/loss": {0: 2.0}}


def test_an_unreadable_run_is_left_out_and_said(runs, capsys):
    (runs / "a" / "config.json").write_text("{")
    write_run(runs / "e", "name,value\nx,1\n")
    write_run(runs / "f", "step,loss\n0.5,1\n")
    write_run(runs / "g" / "seed=[1", "step,loss\n0,\n")
    _, text = imported(runs, expect=1)
    message = capsys.readouterr().err
    for place in (message, text):
        assert "a is left out: a/config.json: cannot be read" in place
        assert "e is left out: e/metrics.csv: has no column step, global_step, iteration or epoch" in place
        assert "has no numbers that were logged" in place
        assert "step: must be a whole number, not 0.5" in place


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--group", "lrr"], "--group=lrr: unknown; allowed: lr, seed; did you mean lr?"),
        (["--seed", "sed"], "--seed=sed: unknown; allowed: lr, seed; did you mean seed?"),
        (["--metric", "los"], "--metric=los: unknown; allowed: loss; did you mean loss?"),
    ],
)
def test_an_unknown_name_is_refused(options, words, runs, capsys):
    assert command.main([str(runs), "--out", str(runs.parent / "out"), *options]) == 2
    assert capsys.readouterr().err == f"harness.import: {words}\n"
    assert not (runs.parent / "out").exists()


def test_a_folder_without_runs_and_one_in_the_way_are_refused(runs, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert command.main([str(tmp_path / "empty")]) == command.main([str(tmp_path / "missing")]) == 2
    assert command.main([str(runs), "--out", str(runs)]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "has no runs" in first
    assert "missing: No such file or directory" in second
    assert "exists, and is no folder of an import" in third


def test_a_second_import_replaces_the_first(runs):
    write_run(runs / "a" / "more", "step,zeta\n0,1\n")
    imported(runs)
    first = {path.name for path in (runs.parent / "out" / paths.FIGURES).iterdir()}
    imported(runs, "--group", "seed")
    assert {path.name for path in (runs.parent / "out" / paths.FIGURES).iterdir()} == first
    imported(runs, "--metric", "loss")
    assert {path.name for path in (runs.parent / "out" / paths.FIGURES).iterdir()} == {"1-loss.svg", "1-loss.png"}


@pytest.mark.parametrize(("file", "package"), [("run.wandb", "wandb"), ("events.out.tfevents.1.host", "tensorboard")])
def test_a_missing_package_is_named(file, package, tmp_path, monkeypatch, capsys):
    (tmp_path / file).write_bytes(b"")
    for module in ("wandb.proto.wandb_internal_pb2", "tensorboard.backend.event_processing"):
        monkeypatch.setitem(sys.modules, module, None)
    assert command.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"harness.import: {package} is not installed; python -m pip install -e '.[import]'\n"


def log_of(records, block=wandb_files.BLOCK):
    """Return a LevelDB log (github.com/google/leveldb/blob/main/doc/log_format.md) of these records."""
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        first = True
        while first or record:
            left = block - len(data) % block
            if left < 7:
                data += bytes(left)
                continue
            part, record = record[: left - 7], record[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not record]
            data += wandb_files.CHUNK.pack(0, len(part), kind) + part
            first = False
    return data


@pytest.mark.parametrize("size", [0, 1, 32_746, 32_747, 32_748, 32_754, 32_761, 100_000])
def test_records_of_any_size_are_read_from_a_log(size):
    """Sizes around the end of a block, with its padding, and records over several blocks."""
    records = [bytes([number]) * size for number in range(1, 5)]
    data = log_of(records)
    assert list(wandb_files._records(data)) == records
    assert list(wandb_files._records(data[:-1])) == records[:3]


@pytest.mark.extras
@pytest.mark.skipif(find_spec("wandb") is None, reason="no wandb: make test-extras")
def test_an_offline_run_of_wandb_is_read_back_exactly(tmp_path):
    """Written by a process of its own, since W&B leaves threads behind."""
    code = """
import wandb
run = wandb.init(project="p", config={"lr": 0.1, "seed": 3, "net": {"depth": 8}})
for step in range(300):
    run.log({"loss": 1 / (step + 3), "nested": {"a": step}, "text": "x" * 500} | ({"w": float("nan")} if step == 7 else {}))
run.config.update({"late": True})
run.finish()
"""
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,), troubles = foreign.read_runs(tmp_path / "wandb")
    assert troubles == {}
    assert run.choices == {"lr": 0.1, "seed": 3, "net.depth": 8, "late": True}
    assert run.metrics["loss"] == {step: 1 / (step + 3) for step in range(300)}
    assert run.metrics["nested.a"] == {step: float(step) for step in range(300)}
    assert math.isnan(run.metrics["w"][7])
    assert set(run.metrics) == {"loss", "nested.a", "w"}


@pytest.mark.extras
@pytest.mark.skipif(find_spec("tensorboard") is None, reason="no TensorBoard: make test-extras")
def test_event_files_of_tensorboard_are_read_back_exactly(tmp_path):
    """TensorBoard keeps 32 bits; 12,000 values are more than the sample that it shows."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path / "runs" / "seed=3"
    with SummaryWriter(str(folder)) as writer:
        for step in range(12_000):
            writer.add_scalar("loss", step / 8, step)
        writer.add_scalar("loss", 1.0, 5)
        writer.add_scalars("both", {"train": 1.0, "val": 2.0}, 0)
        writer.add_hparams({"lr": 0.25, "name": "sgd"}, {"hparam/accuracy": 0.5})
    (run,), troubles = foreign.read_runs(tmp_path / "runs")
    assert troubles == {}
    assert run.choices == {"seed": 3, "lr": 0.25, "name": "sgd"}
    assert run.metrics["loss"] == {step: step / 8 for step in range(12_000)} | {5: 1.0}
    assert {name: values for name, values in run.metrics.items() if name != "loss"} == {
        **{"both_train/both": {0: 1.0}, "both_val/both": {0: 2.0}, "hparam/accuracy": {0: 0.5}}
    }


def test_a_group_of_no_common_step_has_no_curve():
    runs = [foreign.ForeignRun(str(step), {}, {"loss": {step: 1.0}}, "CSV") for step in range(2)]
    curve = aggregate.curve("g", runs, "loss")
    assert (len(curve.table), curve.partial) == (0, 2)


def test_files_of_one_name_in_one_run_are_told_apart(tmp_path):
    """A folder with a file of its own is one run with all below it, so the seeds below are metrics of that run."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "summary.csv").write_text("step,best\n1,5\n")
    for seed in (0, 1):
        write_run(tmp_path / "exp" / f"seed={seed}", f"step,loss\n0,{seed + 2}\n")
    (run,), _ = foreign.read_runs(tmp_path)
    assert run.metrics == {"summary/best": {1: 5.0}, "seed=0/metrics/loss": {0: 2.0}, "seed=1/metrics/loss": {0: 3.0}}


def test_a_folder_that_cannot_be_looked_into_costs_no_other_run(runs, monkeypatch):
    listed = foreign.Path.iterdir

    def refuse(folder):
        if folder.name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(foreign.Path, "iterdir", refuse)
    found, troubles = foreign.read_runs(runs)
    assert [run.name for run in found] == ["a", "c", "d"]
    assert troubles.keys() == {"b"}
    assert "Permission denied" in troubles["b"]
