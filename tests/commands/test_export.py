"""The command that exports runs: what it says, refuses and replaces."""

import gzip
import json

import pandas as pd
import pytest

from harness import export
from harness.records import paths
from harness.records.run import Run
from harness.records.writer import write_json
from harness.training.train import train
from support.helpers import tiny
from support.interruption import interrupt


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Return a finished and an interrupted run of one sweep."""
    done, stopped = tiny(), tiny(depth=14, probes=("layers",))
    train(done, tmp_path)
    interrupt(stopped, tmp_path, 5, monkeypatch)
    names = [done.run_name(), stopped.run_name()]
    folder = paths.sweep_folder(tmp_path, "two")
    folder.mkdir(parents=True)
    write_json(folder / paths.SWEEP, {"runs": names})
    return [Run(paths.run_folder(tmp_path, name)) for name in names]


@pytest.mark.parametrize(("to", "package"), [("parquet", "pyarrow"), ("tensorboard", "tensorboard")])
def test_a_missing_package_is_refused(to, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("harness.tracking.find_spec", lambda name: None if name == package else pytest.fail(name))
    assert export.main([str(tmp_path), "--to", to]) == 2
    why = f"{to}: needs a package that is not installed: python -m pip install -e '.[{to}]'"
    assert capsys.readouterr().err == f"harness.export: {why}\n"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["nowhere", "--to", "parquet"], "sweep.json: missing"),
        (["nowhere", "--to", "paper"], "invalid choice: 'paper'"),
        (["nowhere"], "required: --to"),
    ],
)
def test_what_cannot_be_exported_is_refused(given, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.tracking.find_spec", lambda name: True)
    with pytest.raises(SystemExit) as refused:
        raise SystemExit(export.main(given))
    assert refused.value.code == 2
    assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.extras
def test_parquet_holds_the_tables_of_a_sweep_with_the_choices(runs, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    sweep = paths.sweep_folder(tmp_path, "two")
    for _ in range(2):
        assert export.main([str(sweep), "--to", "parquet"]) == 0
        out = tmp_path / paths.EXPORTS / "two" / "parquet"
        said = f"{runs[1].name}: interrupted; exported as far as it was saved\n2 runs: {out}\n"
        assert capsys.readouterr().out == said
    tables = {"steps", "epochs", "layers", "blocks"}
    assert {path.name for path in out.iterdir()} == {f"{name}.parquet" for name in tables} | {"export.json"}
    for name in tables:
        exported = pd.read_parquet(out / f"{name}.parquet")
        for run in runs:
            rows = exported[exported["run"] == run.name]
            if (run.folder / paths.table(name)).exists():
                assert rows["config.depth"].unique().tolist() == [run.config["depth"]]
                recorded = run.probe(name) if name in ("layers", "blocks") else getattr(run, name)
                pd.testing.assert_frame_equal(rows[recorded.columns].reset_index(drop=True), recorded, check_exact=True)
            else:
                assert rows.empty


@pytest.mark.extras
def test_foreign_folders_are_left_alone(runs, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert export.main([str(runs[0].folder), "--to", "parquet", "--out", str(mine)]) == 2
    assert "mine: exists and is no earlier export of the same folder; choose another by --out" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.extras
def test_a_damaged_run_keeps_no_other_from_its_export(runs, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    (runs[0].folder / paths.table("layers")).write_bytes(gzip.compress(b"damage"))
    assert export.main([str(paths.sweep_folder(tmp_path, "two")), "--to", "parquet"]) == 1
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("not exported: ")
    assert "layers.csv.gz: damaged" in first
    assert last.startswith("1 runs: ")
    assert json.loads((tmp_path / paths.EXPORTS / "two" / "parquet" / paths.EXPORT).read_text()) == {
        "folder": "two",
        "to": "parquet",
    }


def test_a_damaged_table_of_an_unfinished_run_costs_no_other(runs):
    done, stopped = runs
    (stopped.folder / paths.STEPS).write_bytes(b"\xff")
    readable, unreadable = export._readable(runs)
    assert list(readable) == [done]
    assert paths.STEPS in unreadable[0]
