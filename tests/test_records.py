"""What is written is read back, to the bit, or refused."""

import json
import math
import re

import pandas as pd
import pytest
from fabricate import finish
from helpers import KEYS, tiny

import harness
from harness import layout, records, run
from harness.choices import ChoiceError
from harness.records import RecordError, Run


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
        records.write_table(tmp_path / name, table)
        read = records.read_table(tmp_path / name)
        assert read["name"].tolist() == ["none", "", "NA"]
        assert read["grad_norm"].tolist() == table["grad_norm"].tolist()
        assert read["loss"].tolist()[0::2] == [math.inf, -math.inf]
        assert math.isnan(read["loss"][1])
        assert read["layer"].tolist() == [1, 2, 110]


def test_equal_tables_are_equal_files(tmp_path):
    table = pd.DataFrame({"a": [1.5, 2.5]})
    for name in ("one.csv.gz", "two.csv.gz"):
        records.write_table(tmp_path / name, table)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    records.write_json(path, {"state": "done"})

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        records.write_json(path, {"state": "failed"})
    assert records.read_json(path) == {"state": "done"}
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": '])
def test_a_damaged_status_is_no_result(tmp_path, content):
    (tmp_path / layout.STATUS).write_text(content)
    with pytest.raises(RecordError, match=r"status\.json"):
        records.read_json(tmp_path / layout.STATUS)
    assert not Run(tmp_path).finished()


def test_a_table_without_a_column_or_cut_short_is_refused(tmp_path):
    (tmp_path / layout.STEPS).write_text("step,loss\n0,1.5\n")
    with pytest.raises(RecordError, match="lacks the column epoch"):
        records.read_table(tmp_path / layout.STEPS)
    with pytest.raises(RecordError, match="missing"):
        records.read_table(tmp_path / layout.EPOCHS)
    path = tmp_path / "x.csv.gz"
    records.write_table(path, pd.DataFrame({"a": range(1000)}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecordError, match="cannot be read"):
        records.read_table(path)


def test_a_row_with_an_unknown_column_is_refused():
    with pytest.raises(KeyError, match="speed"):
        records.rows(layout.STEPS, [{"step": 0, "speed": 1}])


def recorded_otherwise(run, key, value):
    """Make a finished run one that was recorded when `key` had another default."""
    choices = json.loads((run.folder / layout.CONFIG).read_text())
    choices["schedule"][key] = value
    records.write_json(run.folder / layout.CONFIG, choices)
    facts = {name: fact for name, fact in run.status.items() if name not in ("state", "sha256")}
    records.conclude(run, records.DONE, **facts)


def test_a_run_of_another_default_is_not_taken_for_the_one_that_is_asked_for(tmp_path, capsys):
    asked = tiny()
    finish(tmp_path, asked, 10.0, 12.0)
    assert records.create(asked, tmp_path).finished()
    recorded_otherwise(Run(layout.run_folder(tmp_path, asked.run_name())), "momentum", 0.8)
    words = r"schedule\.momentum=0\.8 there, schedule\.momentum=0\.9 now"
    with pytest.raises(ChoiceError, match=words):
        records.create(asked, tmp_path)
    with pytest.raises(ChoiceError, match=words):
        harness.train(asked, tmp_path)
    assert run.main(["-m", "depth=8", "seed=0,1", *KEYS, f"results={tmp_path}"]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (tmp_path / layout.SWEEPS).exists()


def test_a_begun_run_of_another_default_is_not_gone_on_with_and_one_without_a_step_is_written_anew(tmp_path):
    asked = tiny()
    begun = records.create(asked, tmp_path)
    choices = json.loads((begun.folder / layout.CONFIG).read_text()) | {"growth": 24}
    records.write_json(begun.folder / layout.CONFIG, choices)
    assert records.create(asked, tmp_path).config["growth"] == 12
    records.write_json(begun.folder / layout.CONFIG, choices)
    (begun.folder / layout.CHECKPOINT).touch()
    with pytest.raises(ChoiceError, match="growth=24 there, growth=12 now"):
        records.create(asked, tmp_path)


def test_of_a_begun_run_whose_choices_cannot_be_read_the_checkpoint_is_set_aside(tmp_path):
    begun = records.create(tiny(), tmp_path)
    (begun.folder / layout.CHECKPOINT).write_text("of whatever choices")
    (begun.folder / layout.CONFIG).write_text("{")
    assert records.create(tiny(), tmp_path).config["depth"] == 8
    assert not (begun.folder / layout.CHECKPOINT).exists()
    assert len(list(begun.folder.glob("*.damaged-1"))) == 1


def test_a_folder_in_the_place_of_sweep_json_is_set_aside(tmp_path):
    command = ["depth=8", *KEYS, f"results={tmp_path}"]
    assert run.main(command) == 0
    (folder,) = (tmp_path / layout.SWEEPS).iterdir()
    (folder / layout.SWEEP).unlink()
    (folder / layout.SWEEP).mkdir()
    assert run.main(command) == 0
    assert (folder / layout.SWEEP).is_file()
    assert (folder / f"{layout.SWEEP}.damaged-1").is_dir()


def test_creating_a_run_again_keeps_a_finished_one(tmp_path):
    run = records.create(tiny(), tmp_path)
    assert run.state == records.WAITING
    records.conclude(run, records.DONE, step=12)
    assert records.create(tiny(), tmp_path).state == records.DONE
    records.write_status(run, records.FAILED, step=12)
    assert records.create(tiny(), tmp_path).state == records.WAITING
