"""Damaged records are moved aside with a warning, and the same command finishes the run."""

import errno
import os
import shutil
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from harness import run
from harness.records import paths, reader, states, writer
from harness.records.run import Run, create, write_status
from support.fabricate import finish
from support.helpers import tiny, tiny_schedule

STEPS = {"step": [0, 1], "epoch": 0, "learning_rate": 0.01, "loss": 1.0, "error": 50.0}
CONFIG = tiny(schedule=tiny_schedule(steps=2))


def command(folder):
    """Train the run from the command line; return the exit code."""
    keys = ["depth=8", "width=4", "schedule.steps=2", "device=cpu"]
    return run.main([*keys, f"results={folder.parent.parent}"])


def again(folder):
    """Create the run of a folder again, as the command does, and write its results unless it is finished."""
    created = create(CONFIG, folder.parent.parent)
    if not created.finished():
        assert reader.read_json(folder / paths.CONFIG) == CONFIG.choices()
        writer.write_bytes(folder / paths.RESERVE, b"")
        (folder / paths.RESERVE).unlink()
        (folder / paths.LOG).touch()
        finish(folder.parent.parent, CONFIG, 10.0, 12.0)
    return 0


def sound(folder):
    """Return whether the run is finished and its record is valid and complete."""
    recorded = Run(folder)
    recorded.check()
    return recorded.state == states.DONE and len(recorded.epochs) > 0 and not recorded.misplaced()


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a finished run."""
    name = finish(tmp_path / "results", CONFIG, 10.0, 12.0, tables={paths.STEPS: pd.DataFrame(STEPS)})
    return tmp_path / "results" / paths.RUNS / name


def away(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def a_folder(path):
    away(path).mkdir()
    (path / "mine.txt").write_text("mine")


def a_pipe(path):
    os.mkfifo(away(path))


def a_dangling_link(path):
    away(path).symlink_to("nowhere")


def a_loop(path):
    away(path).symlink_to(path)


def a_link_to_a_device(path):
    away(path).symlink_to("/dev/zero")


def junk(path):
    away(path).write_bytes(b"\xff[" * 1000)


INSTEAD = (a_folder, a_pipe, a_dangling_link, a_loop, a_link_to_a_device, junk)
RECORDS = (paths.CONFIG, paths.STATUS, paths.STEPS, paths.EPOCHS, paths.ENVIRONMENT)


@pytest.mark.parametrize("make", INSTEAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_none_is_set_aside_and_the_run_done_again(name, make, folder, caplog):
    make(folder / name)
    assert again(folder) == 0
    assert "it is kept as" in caplog.text
    assert sound(folder)
    kept = [path.name for path in folder.parent.rglob("*")]
    assert any(path.startswith(name) and path != name for path in kept) or f"{folder.name}.damaged-1" in kept
    caplog.clear()
    assert again(folder) == 0
    assert "it is kept as" not in caplog.text


@pytest.mark.parametrize("make", [make for make in INSTEAD if make is not a_folder], ids=lambda make: make.__name__)
def test_a_run_folder_that_is_none_is_set_aside(make, folder):
    make(folder)
    assert again(folder) == 0
    assert sound(folder)
    assert os.path.lexists(folder.with_name(f"{folder.name}.damaged-1"))


def test_a_run_folder_that_lies_elsewhere_is_one(folder, tmp_path):
    folder.rename(tmp_path / "other disk")
    folder.symlink_to(tmp_path / "other disk")
    before = (folder / paths.STATUS).read_bytes()
    assert again(folder) == 0
    assert (folder / paths.STATUS).read_bytes() == before


@pytest.mark.parametrize("make", INSTEAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", [paths.CHECKPOINT, paths.LOG, paths.RESERVE])
def test_what_a_finished_run_does_not_need_costs_it_nothing(name, make, folder):
    before = (folder / paths.STEPS).stat().st_mtime_ns
    make(folder / name)
    assert again(folder) == 0
    assert sound(folder)
    assert (folder / paths.STEPS).stat().st_mtime_ns == before


@pytest.mark.parametrize("make", INSTEAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", [paths.CHECKPOINT, paths.STATUS, paths.CONFIG, paths.LOG, paths.STEPS, paths.RESERVE])
def test_an_unfinished_run_is_done_whatever_is_in_its_folder(name, make, folder):
    write_status(Run(folder), states.INTERRUPTED, step=0, steps=2)
    make(folder / name)
    assert again(folder) == 0
    assert sound(folder)


def test_folders_that_are_no_part_of_the_record_are_left(folder):
    for name in (".ipynb_checkpoints", "notes"):
        a_folder(folder / name)
    (folder / ".steps.csv.abcd1234").write_text("left by a write that was killed")
    before = (folder / paths.STEPS).stat().st_mtime_ns
    assert again(folder) == 0
    assert (folder / paths.STEPS).stat().st_mtime_ns == before
    assert (folder / ".ipynb_checkpoints" / "mine.txt").is_file()
    assert (folder / "notes" / "mine.txt").is_file()
    assert not (folder / ".steps.csv.abcd1234").exists()


@pytest.mark.parametrize("name", [paths.STATUS, paths.CONFIG, paths.STEPS])
def test_a_record_without_permission_is_set_aside(name, folder, monkeypatch):
    """Like chmod 000, also for root, who may read such a file: opening the file at its path fails."""
    opened, number = os.open, (folder / name).stat().st_ino

    def refuse(path, flags, *arguments, **keys):
        if os.path.lexists(path) and Path(path).lstat().st_ino == number and not flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *arguments, **keys)

    monkeypatch.setattr("os.open", refuse)
    assert again(folder) == 0
    assert sound(folder)
    assert (folder.with_name(f"{folder.name}.damaged-1") / name).stat().st_ino == number


def test_a_folder_that_cannot_be_looked_into_is_set_aside(tmp_path, monkeypatch):
    created = create(tiny(), tmp_path)

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(created.folder))

    with monkeypatch.context() as patch:
        patch.setattr(Run, "misplaced", refuse)
        create(tiny(), tmp_path)
    assert created.folder.with_name(f"{created.folder.name}.damaged-1").is_dir()
    assert created.state == states.WAITING


def test_two_pieces_of_damage_are_both_kept(folder):
    for number in (1, 2):
        a_dangling_link(folder / paths.STATUS) if number == 1 else junk(folder / paths.STATUS)
        assert again(folder) == 0
    assert {path.name for path in folder.parent.iterdir()} >= {
        folder.name,
        f"{folder.name}.damaged-1",
        f"{folder.name}.damaged-2",
    }


@pytest.mark.slow
def test_the_command_brings_every_run_to_its_end_whatever_was_done_to_its_folder(tmp_path):
    """Trains for real, from the command line: one sweep, each of whose runs is damaged in another way."""
    names = [*RECORDS, paths.WEIGHTS, paths.CHECKPOINT, paths.LOG, paths.RESERVE, "."]
    damage = list(product(names, [states.DONE, states.INTERRUPTED], [a_folder, a_pipe, junk]))
    sweep = ["-m", "depth=8", "width=4", "schedule.steps=2", "device=cpu", f"seed=range({len(damage)})", f"results={tmp_path}"]
    assert run.main(sweep) == 0
    folders = sorted((tmp_path / paths.RUNS).iterdir())
    for folder, (name, state, make) in zip(folders, damage, strict=True):
        if state == states.INTERRUPTED:
            write_status(Run(folder), state, step=0, steps=2)
        if name == "." and make is a_folder:
            shutil.rmtree(folder)
        make(folder if name == "." else folder / name)
    assert run.main(sweep) == 0
    assert all(map(sound, folders))


def test_the_command_does_a_run_again_whose_status_is_a_folder(tmp_path):
    folder = tmp_path / paths.RUNS / "none"
    assert command(folder) == 0
    (folder,) = (tmp_path / paths.RUNS).iterdir()
    a_folder(folder / paths.STATUS)
    assert command(folder) == 0
    assert sound(folder)
