"""Build results/index.html, one self-contained page over all sweeps and findings of a results folder, newest first.

The page is built from the files of each report. An entry names its unreadable files; they affect no other entry.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from harness.analysis.verdicts import Verdict
from harness.records import paths, reader, writer
from harness.records.reader import RecordError
from harness.reporting import render
from harness.reporting.document import Badge

KINDS = {paths.SWEEPS: "sweep", paths.FINDINGS: "finding"}
TITLE = "Sweeps and findings"
MAX_TITLE = 200
"""Maximum characters of an entry's title."""
Content = TypeVar("Content")


@dataclass(frozen=True)
class Entry:
    """A sweep or finding on the page. `link`, `picture` and `notes` are URLs relative to the results folder, empty if missing."""

    kind: str
    name: str
    date: str
    """YYYY-MM-DD for a finding; for a sweep the time of the last request, YYYY-MM-DD HH:MM."""
    title: str
    link: str = ""
    picture: str = ""
    lines: Sequence[str] = ()
    """The states of its runs, and unreadable files."""
    notes: str = ""
    """The notes (expected and observed), unless `link` is that file."""
    verdicts: Sequence[tuple[Badge, str]] = ()
    """Verdicts, firm ones first, each with its claims; "not run" has the number of claims."""


def build(results: Path) -> Path:
    """Write the page of a results folder and return its path. Raises NotADirectoryError if there is no such folder."""
    if not results.is_dir():
        raise NotADirectoryError(f"{results}: no such folder")
    path = results / paths.INDEX
    writer.write_text(path, render.render_template("index.html", TITLE, entries=entries(results)))
    return path


def entries(results: Path) -> list[Entry]:
    """Return the sweeps and findings of a results folder, newest first."""
    folders = [folder for kind in KINDS for folder in (results / kind).glob("*") if not folder.name.startswith(".")]
    unsorted = [_entry(results, folder) for folder in folders if folder.is_dir()]
    return sorted(unsorted, key=lambda entry: (entry.date, entry.name), reverse=True)


def _entry(results: Path, folder: Path) -> Entry:
    kind = KINDS[folder.parent.name]
    if folder.is_symlink():
        return Entry(kind, folder.name, "", folder.name, lines=["A symbolic link, which is not followed."])
    lines: list[str] = []
    date = _read(lines, _date, folder, "")
    page, notes = _first(folder, paths.REPORT_HTML, paths.REPORT_MARKDOWN, paths.NOTES), _first(folder, paths.NOTES)
    summary: dict[str, Any] = _read(lines, _summary, folder, {})
    runs, verdicts = "", list[tuple[Badge, str]]()
    if os.path.lexists(folder / paths.SWEEP) or not page:
        runs, verdicts = _read(lines, _runs, folder, ""), _read(lines, _verdicts, folder, verdicts)
    figure = summary.get("figure")
    return Entry(
        kind,
        folder.name,
        date,
        summary.get("title", folder.name)[:MAX_TITLE],
        link=_url(page, results),
        picture=_url(_first(folder, figure) if figure else None, results),
        lines=[runs, *lines] if runs else lines,
        notes=_url(notes if notes != page else None, results),
        verdicts=verdicts,
    )


def _first(folder: Path, *names: str) -> Path | None:
    """Return the first of these names that is a regular file inside the folder after links and `..` are resolved."""
    for name in names:
        with suppress(OSError, ValueError, RuntimeError):  # missing, a loop of links, or an invalid file name
            path, root = (folder / name).resolve(strict=True), folder.resolve(strict=True)
            if path.is_file() and path.is_relative_to(root):
                return folder / path.relative_to(root)
    return None


def _read(lines: list[str], read: Callable[[Path], Content], folder: Path, default: Content) -> Content:
    """Return `read(folder)`. If it raises an error, add a line with the reason and return `default`."""
    try:
        return read(folder)
    except (RecordError, OSError, ValueError, OverflowError) as error:
        lines.append(f"Damaged: {reader.describe_error(error).replace(f'{folder.parent}/', '')}")
        return default


def _summary(folder: Path) -> dict[str, Any]:
    """Return the title and first figure of a report; without one, the title of a Markdown file."""
    if path := _first(folder, paths.REPORT_SUMMARY):
        return reader.read_json(path)
    if path := _first(folder, paths.REPORT_MARKDOWN, paths.NOTES):
        first_line = reader.read_text(path).partition("\n")[0]
        return {"title": first_line.removeprefix("# ")} if first_line.startswith("# ") else {}
    return {}


def _runs(folder: Path) -> str:
    """Return the number of runs and their states according to the last report."""
    requested = len(reader.read_json(folder / paths.SWEEP)["runs"])
    count = f"{requested} run{'' if requested == 1 else 's'}"
    if not os.path.lexists(folder / paths.RUNS_TABLE):
        return f"{count}; no report yet: python -m harness.report {folder.parent.name}/{folder.name}"
    states = Counter(reader.read_table(folder / paths.RUNS_TABLE, ["status"])["status"])
    return f"{count}: " + ", ".join(f"{number} {state}" for state, number in states.items())


def _verdicts(folder: Path) -> list[tuple[Badge, str]]:
    """Return the claims by verdict, firm verdicts first; for "not run" the number of claims."""
    if not os.path.lexists(folder / paths.VERDICTS):
        return []
    claims: dict[str, dict[str, None]] = {}
    for record in reader.read_json(folder / paths.VERDICTS)["verdicts"]:
        claims.setdefault(record["verdict"], {})[record["claim"]] = None
    if not_run := claims.get(Verdict.NOT_RUN.value):
        claims[Verdict.NOT_RUN.value] = {str(len(not_run)): None}
    return [(Badge(v.value), ", ".join(claims[v.value])) for v in reversed(Verdict) if v.value in claims]


def _date(folder: Path) -> str:
    date = re.match(r"\d{4}-\d\d-\d\d", folder.name)
    if date and folder.parent.name == paths.FINDINGS:
        return date[0]
    file = folder / paths.SWEEP
    seconds = (file if file.exists() else folder).stat().st_mtime
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _url(path: Path | None, results: Path) -> str:
    return quote(path.relative_to(results).as_posix()) if path else ""
