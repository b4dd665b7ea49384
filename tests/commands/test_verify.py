"""Verification: the same is found the same, a changed bit is named, and what cannot be checked says why."""

import json
import shutil

import pandas as pd
import pytest

from harness import report, run, verify
from harness.records import paths, reader, states, writer
from harness.records.progress import Progress, duration, summary
from harness.records.run import Run, conclude, write_status
from harness.training.train import train
from support.helpers import KEYS, tiny, tiny_schedule


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    results = tmp_path_factory.mktemp("verify")
    assert run.main(["-m", "launcher=inline", "depth=8", "shortcut=none,identity", *KEYS, f"results={results}"]) == 0
    return results


@pytest.fixture
def results(original, tmp_path):
    shutil.copytree(original, tmp_path / "results")
    return tmp_path / "results"


def sweep_of(results):
    (folder,) = (results / paths.SWEEPS).iterdir()
    return folder


def alter(run, name, change):
    """Change a file of a finished run, and its recorded checksum with it: what is left to find is the difference."""
    path = run.folder / name
    change(path)
    status = {key: value for key, value in run.status.items() if key != "state"}
    conclude(run, run.state, **status)


def test_a_sweep_is_trained_again_to_the_same_bits_and_the_report_says_so(results, capsys):
    folder = sweep_of(results)
    assert verify.main([str(folder)]) == 0
    assert capsys.readouterr().out.count("exact check: the same") == 2
    outcomes = json.loads((folder / paths.VERIFICATION).read_text())["runs"]
    assert [outcome["same"] for outcome in outcomes] == [True, True]
    text = (folder / paths.REPORT_MARKDOWN).read_text()
    assert "exact | the same" in text
    assert "Checked by training again? | 2 of 2 runs the same" in text


def test_what_was_found_of_a_single_run_stands_in_the_sweeps_report(results):
    (single,) = (results / paths.RUNS).glob("*none*")
    assert verify.main([str(single)]) == 0
    assert report.main([str(sweep_of(results))]) == 0
    text = (sweep_of(results) / paths.REPORT_MARKDOWN).read_text()
    assert f"| {single.name} | exact | the same |" in text
    assert "Checked by training again? | 1 of 1 runs the same" in text


def test_only_so_many_runs_are_trained_again(results, capsys):
    assert verify.main([str(sweep_of(results)), "--runs", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert [verify.sample(list("abcdef"), n) for n in (1, 2, 3, 9)] == [["a"], ["a", "d"], ["a", "c", "e"], list("abcdef")]


def test_the_first_differing_step_and_tensor_are_named(results, capsys):
    (folder,) = (results / paths.RUNS).glob("*none*")

    def change(path):
        table = reader.read_table(path)
        place = table.index[(table["step"] == 3) & (table["name"] == "stages.1.0.conv2")][0]
        table.loc[place, "grad_norm"] *= 1 + 1e-15
        writer.write_table(path, table)

    alter(Run(folder), paths.probe_table("layers"), change)
    assert verify.main([str(folder)]) == 1
    assert "layers.csv.gz differs at step 3, stages.1.0.conv2, grad_norm" in capsys.readouterr().out


def test_differing_weights_are_named(results, capsys):
    from safetensors.torch import load_file, save_file

    (folder,) = (results / paths.RUNS).glob("*none*")

    def change(path):
        weights = load_file(path)
        weights["linear.bias"][0] += 1e-6
        save_file(weights, path)

    alter(Run(folder), paths.WEIGHTS, change)
    assert verify.main([str(folder)]) == 1
    assert "the final weights differ, first in linear.bias" in capsys.readouterr().out


def environment_of(run, **changes):
    def change(path):
        writer.write_json(path, run.environment | changes)

    return change


def test_on_another_processor_the_check_is_a_tolerant_one_and_says_so(results, capsys):
    (folder,) = (results / paths.RUNS).glob("*none*")
    alter(Run(folder), paths.ENVIRONMENT, environment_of(Run(folder), cpu="another"))
    assert verify.main([str(folder)]) == 0
    assert "tolerant (different from the record: the processor; within 2.0 points) check: the same" in capsys.readouterr().out

    def change(path):
        table = reader.read_table(path)
        table.loc[table.index[-1], "test_error"] -= 2.5
        writer.write_table(path, table)

    alter(Run(folder), paths.EPOCHS, change)
    assert verify.main([str(folder)]) == 1
    assert "test_error is" in capsys.readouterr().out


def test_what_cannot_be_checked_says_why(results, tmp_path, capsys):
    (folder,) = (results / paths.RUNS).glob("*none*")
    assert verify.main([str(tmp_path / "nowhere")]) == 2
    assert verify.main([str(folder), "--runs", "0"]) == 2
    moved = folder.with_name(folder.name[:-10] + "0123456789")
    shutil.copytree(folder, moved)
    capsys.readouterr()
    assert verify.main([str(moved)]) == 2
    assert "other numerics" in capsys.readouterr().out
    (folder / paths.STEPS).write_text("step\n")
    assert verify.main([str(folder)]) == 2
    assert "damaged" in capsys.readouterr().out
    write_status(Run(folder), states.RUNNING, step=3, steps=12)
    assert verify.main([str(folder)]) == 2
    assert "is not finished (running)" in capsys.readouterr().out


def test_a_diverged_run_is_verified_too(tmp_path, capsys):
    wild = train(tiny(norm="none", depth=26, schedule=tiny_schedule(learning_rate=1e6)), tmp_path)
    assert wild.state == states.DIVERGED
    assert verify.main([str(wild.folder)]) == 0
    assert "the same" in capsys.readouterr().out


def test_tables_differ_where_they_do():
    before = pd.DataFrame({"step": [0, 1], "loss": [1.0, float("nan")]})
    assert verify.table_difference(before, before.copy()) is None
    assert verify.table_difference(before, before.iloc[:1])[1] == "in its length: 2 rows recorded, 1 now"
    assert "in its columns: loss" in verify.table_difference(before, before[["step"]])[1]
    assert "at step 1, loss" in verify.table_difference(before, before.fillna(0.0))[1]


def test_a_summary_extrapolates_the_pace_of_what_is_trained():
    half = Progress("a", states.RUNNING, {"step": 50, "steps": 100, "seconds": 10.0}, 100.0)
    waiting = Progress("b", states.WAITING, {"step": 0, "steps": 100}, 100.0)
    done = Progress("c", states.DONE, {"step": 100, "steps": 100, "seconds": 5.0}, 100.0)
    assert half.seconds_left == 10.0
    assert summary([half, waiting, done]) == "1 waiting, 1 running, 1 done; about 30 s left"
    assert summary([done]) == "1 done"
    assert [duration(seconds) for seconds in (45, 600, 9000)] == ["45 s", "10 min", "2.5 h"]
