"""Records are read back bit-identical, or refused."""

import json
import math
import re

import pandas as pd
import pytest

import harness
from harness import run
from harness.config.registry import ChoiceError
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, conclude, create, write_status
from support.fabricate import finish
from support.helpers import KEYS, tiny


def test_numbers_come_back_to_the_bit_and_text_none_stays_text(tmp_path):
    table = pd.DataFrame(
        {
            "name": ["none", "", "NA"],
            "grad_norm": [9.0e-28, 0.1 + 0.2, 5e-324],
            "loss": [math.inf, math.nan, -math.inf],
            "layer": [1, 2, 110],
        }
    )
    for name in ("t.csv", "t.csv.gz"):
        writer.write_table(tmp_path / name, table)
        read = reader.read_table(tmp_path / name)
        assert read["name"].tolist() == ["none", "", "NA"]
        assert read["grad_norm"].tolist() == table["grad_norm"].tolist()
        assert read["loss"].tolist()[0::2] == [math.inf, -math.inf]
        assert math.isnan(read["loss"][1])
        assert read["layer"].tolist() == [1, 2, 110]


def test_equal_tables_are_equal_files(tmp_path):
    table = pd.DataFrame({"a": [1.5, 2.5]})
    for name in ("one.csv.gz", "two.csv.gz"):
        writer.write_table(tmp_path / name, table)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    writer.write_json(path, {"state": "done"})

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        writer.write_json(path, {"state": "failed"})
    assert reader.read_json(path) == {"state": "done"}
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": '])
def test_a_damaged_status_is_no_result(tmp_path, content):
    (tmp_path / paths.STATUS).write_text(content)
    with pytest.raises(RecordError, match=r"status\.json"):
        reader.read_json(tmp_path / paths.STATUS)
    assert not Run(tmp_path).finished()


def test_a_table_without_a_column_or_cut_short_is_refused(tmp_path):
    (tmp_path / paths.STEPS).write_text("step,loss\n0,1.5\n")
    with pytest.raises(RecordError, match="lacks the column epoch"):
        reader.read_table(tmp_path / paths.STEPS)
    with pytest.raises(RecordError, match="missing"):
        reader.read_table(tmp_path / paths.EPOCHS)
    path = tmp_path / "x.csv.gz"
    writer.write_table(path, pd.DataFrame({"a": range(1000)}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordError, match="cannot be read"):
        reader.read_table(path)


def test_a_row_with_an_unknown_column_is_refused():
    with pytest.raises(KeyError, match="speed"):
        writer.make_table(paths.STEPS, [{"step": 0, "speed": 1}])


def record_with_default(run, key, value):
    """Rewrite a finished run as if it had been recorded when the schedule's `key` had the default `value`."""
    choices = json.loads((run.folder / paths.CONFIG).read_text())
    choices["schedule"][key] = value
    writer.write_json(run.folder / paths.CONFIG, choices)
    facts = {name: fact for name, fact in run.status.items() if name not in ("state", "sha256")}
    conclude(run, states.DONE, **facts)


def test_a_run_of_another_default_is_not_taken_for_the_one_that_is_asked_for(tmp_path, capsys):
    requested = tiny()
    finish(tmp_path, requested, 10.0, 12.0)
    assert create(requested, tmp_path).finished()
    record_with_default(Run(paths.run_folder(tmp_path, requested.run_name())), "momentum", 0.8)
    words = r"schedule\.momentum=0\.8 there, schedule\.momentum=0\.9 now"
    with pytest.raises(ChoiceError, match=words):
        create(requested, tmp_path)
    with pytest.raises(ChoiceError, match=words):
        harness.train(requested, tmp_path)
    assert run.main(["-m", "depth=8", "seed=0,1", *KEYS, f"results={tmp_path}"]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / paths.SWEEPS).exists()


def test_a_begun_run_of_another_default_is_not_gone_on_with_and_one_without_a_step_is_written_anew(tmp_path):
    requested = tiny()
    begun = create(requested, tmp_path)
    choices = json.loads((begun.folder / paths.CONFIG).read_text()) | {"growth": 24}
    writer.write_json(begun.folder / paths.CONFIG, choices)
    assert create(requested, tmp_path).config["growth"] == 12
    writer.write_json(begun.folder / paths.CONFIG, choices)
    (begun.folder / paths.CHECKPOINT).touch()
    with pytest.raises(ChoiceError, match="growth=24 there, growth=12 now"):
        create(requested, tmp_path)


def test_of_a_begun_run_whose_choices_cannot_be_read_the_checkpoint_is_set_aside(tmp_path):
    begun = create(tiny(), tmp_path)
    (begun.folder / paths.CHECKPOINT).write_text("of whatever choices")
    (begun.folder / paths.CONFIG).write_text("{")
    assert create(tiny(), tmp_path).config["depth"] == 8
    assert not (begun.folder / paths.CHECKPOINT).exists()
    assert len(list(begun.folder.glob("*.damaged-1"))) == 1


def test_a_folder_in_the_place_of_sweep_json_is_set_aside(tmp_path):
    command = ["depth=8", *KEYS, f"results={tmp_path}"]
    assert run.main(command) == 0
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    (folder / paths.SWEEP).unlink()
    (folder / paths.SWEEP).mkdir()
    assert run.main(command) == 0
    assert (folder / paths.SWEEP).is_file()
    assert (folder / f"{paths.SWEEP}.damaged-1").is_dir()


def test_creating_a_run_again_keeps_a_finished_one(tmp_path):
    run = create(tiny(), tmp_path)
    assert run.state == states.WAITING
    conclude(run, states.DONE, step=12)
    assert create(tiny(), tmp_path).state == states.DONE
    write_status(run, states.FAILED, step=12)
    assert create(tiny(), tmp_path).state == states.WAITING
