"""One page over all sweeps and findings of a results folder, newest first: results/index.html.

It is made from the files that reports leave beside each sweep alone, and asks for nothing from elsewhere. What cannot be read is
named on the page and costs no other entry its place.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from harness.analysis.verdicts import Verdict
from harness.records import paths, reader, writer
from harness.records.reader import RecordError
from harness.reporting import render
from harness.reporting.document import Badge

KINDS = {paths.SWEEPS: "sweep", paths.FINDINGS: "finding"}
TITLE = "Sweeps and findings"
TITLES = 200
"""Characters of an entry's title at most."""
Said = TypeVar("Said")


@dataclass(frozen=True)
class Entry:
    """What the page says of one sweep or finding; paths are relative to the results folder, empty where there is none."""

    kind: str
    name: str
    when: str
    """YYYY-MM-DD of a finding; of a sweep when it was last asked for, YYYY-MM-DD HH:MM."""
    title: str
    link: str
    picture: str
    lines: Sequence[str]
    """Its runs, and what could not be read."""
    notes: str = ""
    """What was expected and seen, where that is not the link itself."""
    verdicts: Sequence[tuple[Badge, str]] = ()
    """Each verdict that was said, the firm ones first, and of which claims; of those not run their number."""


def build(results: Path) -> Path:
    """Write the page of a results folder; return its path. Raises NotADirectoryError where there is no such folder."""
    if not results.is_dir():
        raise NotADirectoryError(f"{results}: no such folder")
    path = results / paths.INDEX
    writer.write_text(path, render.html_of("index.html", TITLE, entries=entries(results)))
    return path


def entries(results: Path) -> list[Entry]:
    """Return every sweep and finding of a results folder, newest first."""
    folders = [folder for kind in KINDS for folder in (results / kind).glob("*") if not folder.name.startswith(".")]
    found = [_entry(results, folder) for folder in folders if folder.is_dir()]
    return sorted(found, key=lambda entry: (entry.when, entry.name), reverse=True)


def _entry(results: Path, folder: Path) -> Entry:
    kind, lines = KINDS[folder.parent.name], list[str]()
    if folder.is_symlink():
        return Entry(kind, folder.name, "", folder.name, "", "", ["A link, which is not followed."])
    when = _said(lines, _when, folder, "")
    document = _first(folder, paths.REPORT_MARKDOWN, paths.NOTES)
    page = _first(folder, paths.REPORT_HTML, paths.REPORT_MARKDOWN, paths.NOTES)
    text = _said(lines, reader.read_text, document, "") if document else ""
    verdicts: list[tuple[Badge, str]] = []
    if os.path.lexists(folder / paths.SWEEP) or not document:
        runs, verdicts = _said(lines, _runs, folder, ""), _said(lines, _verdicts, folder, verdicts)
        lines[:0] = [runs] if runs else []
    heading = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    figure = re.search(r"^!\[[^]]*\]\(([^)]+)\)$", text, flags=re.MULTILINE)
    notes = _first(folder, paths.NOTES)
    return Entry(
        kind,
        folder.name,
        when,
        heading[1][:TITLES] if heading else folder.name,
        _relative(page, results),
        _relative(_first(folder, figure[1]) if figure else None, results),
        lines,
        _relative(notes if notes != page else None, results),
        verdicts,
    )


def _first(folder: Path, *names: str) -> Path | None:
    """Return the first of these that is a regular file inside the folder, whatever links and `..` are on the way."""
    for name in names:
        try:
            path, root = (folder / name).resolve(strict=True), folder.resolve(strict=True)
            if path.is_file() and path.is_relative_to(root):
                return folder / path.relative_to(root)
        except (OSError, ValueError, RuntimeError):  # not there, a loop of links, no name of a file at all
            continue
    return None


def _said(lines: list[str], read: Callable[[Path], Said], path: Path, otherwise: Said) -> Said:
    """Return what `read` says of a file; where that cannot be read, `otherwise`, and add a line that says so."""
    try:
        return read(path)
    except (RecordError, OSError, ValueError, OverflowError) as error:
        lines.append(f"Damaged: {reader.words(error).replace(f'{path.parent}/', '')}")
        return otherwise


def _runs(folder: Path) -> str:
    """Say how many runs a sweep has and what became of them, by the table of its last report."""
    asked = len(reader.read_json(folder / paths.SWEEP)["runs"])
    count = f"{asked} run{'' if asked == 1 else 's'}"
    if not os.path.lexists(folder / paths.RUNS_TABLE):
        return f"{count}; no report yet: python -m harness.report {folder.parent.name}/{folder.name}"
    states: Mapping[str, int] = Counter(reader.read_table(folder / paths.RUNS_TABLE, ["status"])["status"])
    return f"{count}: " + ", ".join(f"{number} {state}" for state, number in states.items())


def _verdicts(folder: Path) -> list[tuple[Badge, str]]:
    """Return which claims have which verdict, the firm ones first; of those without runs their number."""
    if not os.path.lexists(folder / paths.VERDICTS):
        return []
    of = [(one["verdict"], one["claim"]) for one in reader.read_json(folder / paths.VERDICTS)["verdicts"]]
    words = [verdict.value for verdict in reversed(Verdict) if verdict is not Verdict.NOT_RUN]
    claims = {word: ", ".join(dict.fromkeys(claim for verdict, claim in of if verdict == word)) for word in words}
    said = [(Badge(word), names) for word, names in claims.items() if names]
    lacking = len({claim for verdict, claim in of if verdict == Verdict.NOT_RUN.value})
    return [*said, *([(Badge(Verdict.NOT_RUN.value), str(lacking))] if lacking else [])]


def _when(folder: Path) -> str:
    dated = re.match(r"\d{4}-\d\d-\d\d", folder.name)
    if dated and folder.parent.name == paths.FINDINGS:
        return dated[0]
    file = folder / paths.SWEEP
    seconds = (file if file.exists() else folder).stat().st_mtime
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _relative(path: Path | None, results: Path) -> str:
    """Return a file's path from the results folder as a link; nothing where there is no such file."""
    return quote(path.relative_to(results).as_posix()) if path else ""
