"""The page over all sweeps and findings, on fabricated folders, and the command that runs every experiment."""

import json
import os
import re
import subprocess
from html import unescape
from pathlib import Path

import pytest

from harness import report
from harness.config.conf import choices_of
from harness.records import paths
from harness.reporting import build, index
from support.fabricate import digits, finish, sweep

ROOT = Path(__file__).resolve().parents[2]


def made(results, label, *, seconds, title="a sweep", verdicts=(), states=("done",)):
    """Write a sweep's folder as a report leaves it, with this time of sweep.json."""
    folder = paths.sweep_folder(results, label)
    (folder / paths.FIGURES).mkdir(parents=True)
    (folder / paths.FIGURES / "error.png").write_bytes(b"")
    (folder / paths.SWEEP).write_text(json.dumps({"runs": [f"run{number}" for number in range(len(states))]}))
    (folder / paths.RUNS_TABLE).write_text("\n".join(["status", *states]))
    (folder / paths.VERDICTS).write_text(
        json.dumps({"verdicts": [{"claim": claim, "verdict": verdict} for claim, verdict in verdicts]})
    )
    (folder / paths.REPORT_SUMMARY).write_text(json.dumps({"title": title, "figure": f"{paths.FIGURES}/error.png"}))
    (folder / paths.REPORT_HTML).write_text("")
    os.utime(folder / paths.SWEEP, (seconds, seconds))
    return folder


def page(results):
    assert report.main(["--index", str(results)]) == 0
    return (results / paths.INDEX).read_text()


def test_newest_first_each_with_title_picture_runs_and_verdicts(tmp_path):
    verdicts = [("D1", "consistent"), ("D6", "reproduced"), ("D2", "consistent"), ("D3", "not run"), ("D1", "inconsistent")]
    made(tmp_path, "older", seconds=86_400 * 365, title="older one", verdicts=verdicts, states=("done", "failed", "done"))
    newer = made(tmp_path, "newer", seconds=86_400 * 730, title="newer one")
    (newer / paths.NOTES).write_text("# What was expected\n")
    finding = tmp_path / paths.FINDINGS / "1972-06-01-between"
    finding.mkdir(parents=True)
    (finding / paths.NOTES).write_text("# a finding that is no sweep\n")
    html = page(tmp_path)
    titles = [unescape(re.sub("<.*?>", "", title)) for title in re.findall(r"<h2>(.*?)</h2>", html)]
    assert titles == ["a finding that is no sweep", "newer one", "older one"]
    assert "3 runs: 2 done, 1 failed" in html
    (_, older) = index.entries(tmp_path)[1:]
    assert older.verdicts == [("reproduced", "D6"), ("consistent", "D1, D2"), ("inconsistent", "D1"), ("not run", "1")]
    assert '<span class="badge inconsistent">inconsistent</span> D1</li>' in html
    links = re.findall(r'(?:href|src)="(?!data:)(.*?)"', html)
    assert "sweeps/older/figures/error.png" in links
    assert {"sweeps/newer/report.html", "sweeps/newer/README.md"} < set(links)
    assert "sweeps/older/README.md" not in links
    assert "findings/1972-06-01-between/README.md" in links
    assert all((tmp_path / link).is_file() for link in links)  # relative, inside the results folder
    assert "@import" not in html


def test_text_is_escaped(tmp_path):
    made(tmp_path, "<script>alert(1)<", seconds=0, title="<script>alert('x')</script>", verdicts=[("<script>", "reproduced")])
    html = page(tmp_path)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(" in html
    assert 'href="sweeps/%3Cscript%3Ealert%281%29%3C/report.html"' in html


def test_without_sweeps_it_says_how_to_begin(tmp_path):
    assert "No sweep yet" in page(tmp_path)


def test_no_folder_is_refused(tmp_path, capsys):
    assert report.main(["--index", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (paths.SWEEP, "{"),
        (paths.SWEEP, "{}"),
        (paths.VERDICTS, "[1]"),
        (paths.VERDICTS, '{"verdicts": [3]}'),
        (paths.RUNS_TABLE, "depth\n20"),
        (paths.REPORT_SUMMARY, b"\xff\xfe\xff"),
        (paths.REPORT_SUMMARY, '{"title": "a sweep"}'),
        (paths.REPORT_SUMMARY, '{"title": 3, "figure": null}'),
    ],
)
def test_a_damaged_sweep_is_named_and_costs_no_other(file, content, tmp_path):
    made(tmp_path, "good", seconds=0, title="a good one")
    folder = made(tmp_path, "broken", seconds=0)
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    html = page(tmp_path)
    assert "a good one" in html
    assert len(re.findall("Damaged: ", html)) == 1
    assert "sweep broken" in html
    assert str(tmp_path) not in html


@pytest.mark.parametrize("name", [paths.REPORT_MARKDOWN, paths.NOTES])
@pytest.mark.parametrize(
    ("content", "title"), [(b"# an older one\n\n# other\n", "an older one"), (b"text\n", "old"), (b"", "old")]
)
def test_without_a_summary_the_title_is_the_first_line_of_a_markdown_file(name, content, title, tmp_path):
    folder = made(tmp_path, "old", seconds=0)
    (folder / paths.REPORT_SUMMARY).unlink()
    (folder / name).write_bytes(content)
    (entry,) = index.entries(tmp_path)
    assert (entry.title, entry.picture, entry.lines) == (title, "", ["1 run: 1 done"])
    (folder / name).write_bytes(b"\xff\xfe\xff")
    (entry,) = index.entries(tmp_path)
    assert (entry.title, entry.picture) == ("old", "")
    assert entry.lines[1].startswith(f"Damaged: old/{name}: ")


def test_an_unfinished_sweep_and_an_empty_folder_are_listed(tmp_path):
    (tmp_path / paths.SWEEPS / "empty").mkdir(parents=True)
    folder = paths.sweep_folder(tmp_path, "waiting")
    folder.mkdir(parents=True)
    (folder / paths.SWEEP).write_text('{"runs": ["a", "b"]}')
    entries = {entry.name: entry for entry in index.entries(tmp_path)}
    assert entries["waiting"].lines == ["2 runs; no report yet: python -m harness.report sweeps/waiting"]
    assert entries["empty"].lines[0].startswith("Damaged: ")
    assert (entries["empty"].link, entries["empty"].picture) == ("", "")


def test_what_a_real_report_leaves_is_what_the_page_reads(tmp_path):
    names = [finish(tmp_path, digits(depth, "none", seed), depth, depth) for depth in (20, 56) for seed in range(3)]
    tables = sweep(tmp_path, names)
    assert build.conclude(tables.folder) == 0
    (entry,) = index.entries(tmp_path)
    assert entry.title == "6 runs, digits, depth 20, 56"
    assert entry.picture == "sweeps/made/figures/error.png"
    assert entry.lines[0] == "6 runs: 6 done"
    assert any(word == "consistent" and claims.startswith("D1") for word, claims in entry.verdicts)


@pytest.mark.parametrize(("failing", "code"), [("", 0), ("experiment=degradation", 2), ("--index", 2)])
def test_make_experiments_goes_on_and_builds_the_page_in_the_end(failing, code, tmp_path):
    """A stand-in for Python records its arguments. make exits with 2 if a recipe exits with 1."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *"{failing or "nothing"}"*) exit 1;; esac\n')
    stand_in.chmod(0o755)
    command = ["make", "-s", "-o", "install", "experiments", f"PY={stand_in}"]
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == code
    names = [name for name in choices_of("experiment") if name not in ("none", "degradation_laptop")]
    expected = [f"-m harness.run -m experiment={name}" for name in names] + ["-m harness.report --index"]
    assert (tmp_path / "calls").read_text().splitlines() == expected
