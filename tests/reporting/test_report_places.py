"""Obstacles to writing a report: concurrent reports, a user's files, full disks, permissions, names of findings."""

import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness import plots, report, run, status, verify
from harness.analysis.tables import Tables
from harness.claims.claim import Experiment
from harness.records import findings, paths, states, writer
from harness.records.run import Run, write_status
from harness.reporting import build, figures, index
from support.fabricate import digits, finish, sweep


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with a sweep of two finished runs and its report."""
    results = tmp_path_factory.mktemp("made")
    names = [finish(results, digits(depth, "none"), depth, depth + 1.0) for depth in (20, 56)]
    assert build.conclude(sweep(results, names).folder) == 0
    return results


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results" / paths.SWEEPS / "made"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- figures/ ---


def test_reports_at_once_leave_what_one_leaves(folder):
    """Three concurrent processes, and a stale figure that none of them draws."""
    expected = contents(folder)
    (folder / paths.FIGURES / "heat-maps.png").touch()
    command = [sys.executable, "-m", "harness.report", str(folder)]
    reports = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in reports] == ["", "", ""]
    assert [process.returncode for process in reports] == [0, 0, 0]
    assert contents(folder) == expected


def test_a_report_waits_while_another_writes(folder, monkeypatch):
    """All files belong to one report, whichever process is last."""
    before, waits, lock = contents(folder), threading.Event(), fcntl.flock
    (folder / paths.REPORT_HTML).unlink()
    with figures.exclusive(folder):
        monkeypatch.setattr("fcntl.flock", lambda *arguments: (waits.set(), lock(*arguments)))
        other = threading.Thread(target=build.build, args=(folder,))
        other.start()
        assert waits.wait(60)
        assert not (folder / paths.REPORT_HTML).exists()
    other.join()
    assert contents(folder) == before


def test_files_that_no_report_writes_stay(folder):
    drawn = folder / paths.FIGURES
    (drawn / ".ipynb_checkpoints").mkdir()
    own = [drawn / name for name in ("notes.txt", "mine.svg", "error-final.png", ".hidden", ".error.png.swp")]
    stale = [drawn / name for name in ("error-7.svg", "heat-maps-12.png", ".error.png.abcd1234")]
    for path in (*own, *stale):
        path.write_text("")
    (drawn / "gradients.svg").mkdir()
    assert report.main([str(folder)]) == 0
    assert all(path.is_file() for path in own)
    assert not any(path.exists() for path in stale)
    assert (drawn / ".ipynb_checkpoints").is_dir()
    assert (drawn / "gradients.svg").is_dir()


def test_a_figure_that_a_plugin_draws_no_longer_is_removed(folder, monkeypatch):
    """Its name is known from the previous report alone."""
    figures_before = set((folder / paths.FIGURES).iterdir())
    own = replace(plots.ERROR, name="own")
    with monkeypatch.context() as patch:
        patch.setattr(build, "of_sweep", lambda tables: Experiment("", (own,)))
        build.build(folder)
    assert {path.name for path in set((folder / paths.FIGURES).iterdir()) - figures_before} == {"own.svg", "own.png"}
    (folder / paths.FIGURES / "owner.svg").touch()
    build.build(folder)
    assert set((folder / paths.FIGURES).iterdir()) - figures_before == {folder / paths.FIGURES / "owner.svg"}


# --- what cannot be written or read ---


def in_the_way(name, make):
    def put(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        getattr(path, make)()

    return put


OBSTACLES = {
    "figures a file": in_the_way(paths.FIGURES, "touch"),
    "a figure a folder": in_the_way(f"{paths.FIGURES}/error.png", "mkdir"),
    "report.html a folder": in_the_way(paths.REPORT_HTML, "mkdir"),
    "report.md a folder": in_the_way(paths.REPORT_MARKDOWN, "mkdir"),
    "runs.csv a folder": in_the_way(paths.RUNS_TABLE, "mkdir"),
    "verdicts.json a folder": in_the_way(paths.VERDICTS, "mkdir"),
}


@pytest.mark.parametrize("put", OBSTACLES.values(), ids=OBSTACLES)
def test_a_report_that_cannot_be_written_is_one_sentence_and_the_runs_are_printed(put, folder, capsys):
    put(folder)
    assert report.main([str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"harness.report: {folder}/")
    assert "/." not in printed.err  # the obstacle is named, not the temporary file
    assert printed.err.count("\n") == 1
    assert printed.out.count(" done ") == 2
    assert "report: " not in printed.out
    assert build.conclude(folder) == 0  # as at the end of harness.run: every run is done
    name = Tables(folder).about["runs"][0]
    write_status(Run(paths.runs_of(folder) / name), states.FAILED, error="no\n\x1b[31mway")
    capsys.readouterr()
    assert build.conclude(folder) == 1
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_whatever_the_system_says_to_a_write(number, folder, monkeypatch, capsys):
    def refuse(*arguments, **keys):
        raise OSError(number, os.strerror(number), "/full/of/it")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    words = f"/full/of/it: {os.strerror(number)}\n"
    assert report.main([str(folder)]) == 2
    assert capsys.readouterr().err == f"harness.report: {words}"
    assert report.main(["--index", str(folder.parent.parent)]) == 2
    assert capsys.readouterr().err == f"harness.report: {words}"
    monkeypatch.setattr(verify, "verify", lambda run, root: {"run": run.name, "kind": "exact", "same": True, "found": "the same"})
    assert verify.main([str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"harness.verify: the outcome cannot be written: {words}"
    assert printed.out.count("the same") == 2
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert report.main([str(folder), "--keep", "name"]) == 2
    assert capsys.readouterr().err == f"harness.report: {words}"


@pytest.mark.parametrize("name", [paths.EPOCHS, paths.STATUS, paths.CONFIG, paths.ENVIRONMENT])
def test_a_file_without_permission_costs_its_run_alone(name, folder, monkeypatch, capsys):
    first, second = Tables(folder).about["runs"]
    opened = os.open

    def refuse(path, *arguments, **keys):
        if str(path).endswith(f"{first}/{name}"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **keys)

    monkeypatch.setattr("os.open", refuse)
    assert report.main([str(folder)]) == 1
    markdown = (folder / paths.REPORT_MARKDOWN).read_text()
    assert f"{first} is not done, damaged: {first}/{name}: cannot be read: Permission denied" in markdown
    assert f"{first}: damaged: " in capsys.readouterr().out
    assert f"{second} is not done" not in markdown
    assert status.main([str(folder)]) == 0


def test_a_table_without_a_checksum_that_cannot_be_read_costs_its_run_alone(folder):
    first = Run(paths.runs_of(folder) / Tables(folder).about["runs"][0])
    (first.folder / "layers.csv.gz").write_bytes(b"no table")
    assert report.main([str(folder)]) == 1
    assert "layers.csv.gz: cannot be read" in (folder / paths.REPORT_MARKDOWN).read_text()


@pytest.mark.parametrize("path", ["loop", "file", "file/below", "x" * 300])
def test_a_path_that_is_no_sweep_is_one_sentence(path, tmp_path, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    for main in (report.main, verify.main, status.main):
        assert main([str(tmp_path / path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert report.main(["--index", str(tmp_path / path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- --keep ---


@pytest.mark.parametrize("name", ["", ".", "..", "../../x", "a/b", "/tmp/x", ".hidden", "-", "a b", "é", "x" * 101, "a\n", "*"])
def test_a_finding_has_a_plain_name(name, folder, tmp_path, capsys):
    before = set(tmp_path.rglob("*"))
    assert report.main([str(folder), f"--keep={name}"]) == 2
    assert "must be letters, digits" in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Killed(), KeyboardInterrupt()])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("at", ["write_bytes", "write_text", "rename"])
def test_a_finding_appears_whole_or_not_at_all(at, begun, error, folder, monkeypatch):
    kept = folder.parent.parent / paths.FINDINGS
    if begun:
        (kept / "2020-02-29-name").mkdir(parents=True)
        (kept / "2020-02-29-name" / paths.NOTES).write_text("Plain nets get worse.\n")

    def fail(*arguments, **keys):
        raise error

    with monkeypatch.context() as patch:
        if at == "rename":
            renamed = Path.rename
            patch.setattr(
                Path, "rename", lambda path, to: fail() if to.name[0].isdigit() and path.name[0] == "." else renamed(path, to)
            )
            patch.setattr(findings, "_recover", lambda findings: None)  # as if the process had died at once
        else:
            patch.setattr(writer, at, fail)
        if isinstance(error, OSError):
            assert report.main([str(folder), "--keep", "name"]) == 2
        else:
            with pytest.raises(type(error)):
                report.main([str(folder), "--keep", "name"])
    assert not list(kept.glob("*-name/" + paths.SWEEP))
    assert report.main([str(folder), "--keep", "name"]) == 0
    (finding,) = kept.iterdir()
    assert (finding / paths.REPORT_MARKDOWN).is_file()
    assert (finding / paths.NOTES).is_file() == begun
    assert oct(finding.stat().st_mode)[-3:] == "755"


def test_only_what_a_run_wrote_is_kept(folder, tmp_path):
    first = paths.runs_of(folder) / Tables(folder).about["runs"][0]
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(first / "pipe")
    (first / "mine").mkdir()
    (first / "link.txt").symlink_to(tmp_path / "secret")
    (first / ".hidden").touch()
    (first / "steps.csv.damaged-1").touch()
    (first / paths.LOG).touch()
    assert report.main([str(folder), "--keep", "name"]) == 0
    (finding,) = (folder.parent.parent / paths.FINDINGS).iterdir()
    kept = {path.name for path in (finding / paths.RUNS / first.name).iterdir()}
    assert kept == {paths.CONFIG, paths.STATUS, paths.ENVIRONMENT, paths.EPOCHS}


# --- the index ---


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "../other/report.md",
        "https://example.org/x.png",
        "link.png",
        "figures/../../x.png",
        "figures/none.png",
        "\0",
        None,
    ],
)
def test_the_index_shows_no_file_of_elsewhere(target, folder):
    results = folder.parent.parent
    other = results / paths.SWEEPS / "other"
    other.mkdir()
    (other / paths.REPORT_MARKDOWN).write_text("# other\n")
    (results / paths.SWEEPS / "x.png").touch()
    (folder / "link.png").symlink_to("/etc/passwd")
    (folder / paths.REPORT_SUMMARY).write_text(json.dumps({"title": "mine", "figure": target}))
    entry = next(entry for entry in index.entries(results) if entry.name == "made")
    assert entry.title == "mine"
    assert entry.picture == ""


def test_the_index_follows_no_links_out(folder, tmp_path):
    results = folder.parent.parent
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / paths.NOTES).write_text("# secret\n")
    (results / paths.SWEEPS / "link").symlink_to(outside)
    (results / paths.SWEEPS / "loop").symlink_to(results / paths.SWEEPS / "loop")
    (folder / paths.NOTES).symlink_to(outside / paths.NOTES)
    (folder / paths.REPORT_MARKDOWN).unlink()
    os.mkfifo(folder / paths.REPORT_MARKDOWN)
    (folder / paths.VERDICTS).unlink()
    (folder / paths.VERDICTS).symlink_to("/dev/zero")
    html = index.build(results).read_text()
    assert "secret" not in html
    assert "A symbolic link, which is not followed." in html
    assert "Damaged: made/verdicts.json: is not a regular file" in html


def test_no_entry_costs_the_page(folder):
    results = folder.parent.parent
    for name, content in (("a", "[" * 100_000), ("b", '{"runs": "x"}'), ("c", '{"runs": ["../x"]}'), ("d", "\0")):
        (results / paths.SWEEPS / name).mkdir()
        (results / paths.SWEEPS / name / paths.SWEEP).write_text(content)
    os.utime(folder / paths.SWEEP, (10**11, 10**11))
    (results / paths.FINDINGS).mkdir()
    (results / paths.FINDINGS / "file").touch()
    html = index.build(results).read_text()
    assert html.count("<article>") == 5
    assert len(re.findall(r"Damaged: [abcd]/sweep\.json: ", html)) == 4
    assert "2 runs: 2 done" in html


def test_the_end_of_a_run_says_so_where_its_report_cannot_be_written(tmp_path, capsys, monkeypatch):
    def refuse(*arguments, **keys):
        raise OSError(errno.ENOSPC, "No space left on device", "report.html")

    monkeypatch.setattr("harness.reporting.verdict_sections.write", refuse)
    keys = ["depth=8", "width=4", "schedule.steps=2", "device=cpu", f"results={tmp_path}"]
    assert run.main(keys) == 0
    printed = capsys.readouterr()
    assert "harness.report: report.html: No space left on device" in printed.err
    assert " done " in printed.out
