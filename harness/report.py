"""Rebuild the tables, figures and report of a sweep from its run folders alone.

    python -m harness.report SWEEP_FOLDER [--keep NAME]
    python -m harness.report --index [RESULTS_FOLDER]

--keep NAME also keeps the sweep as evidence: results/findings/DATE-NAME, with the tables of its runs inside.
--index builds one page over all sweeps and findings of a results folder (results): index.html.
Exit code 0, 1 if a run of the sweep failed or is not done, 2 if the folder is no sweep that can be read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from experiments.declaration import find
from experiments.judging import claims_of
from harness import index, judged, layout, pages, records, reproducibility
from harness.config import flatten
from harness.network import applies
from harness.pages import Code, Drawing, Section, Text
from harness.plots import Picture
from harness.plots.style import save
from harness.records import RecordError
from harness.tables import DRAWN, Tables

ABOUT_RUNS = (
    "Errors in percent, at the end, in evaluation mode; time in seconds; warmup_end is the step from which the learning rate "
    "was the full one."
)

ARMS = 16
"""Arms of a comparison that are drawn at most: figures of hundreds would be read by nobody, and take minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--index", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.index:
        return _index((asked.folder or Path("results")).resolve())
    if asked.folder is None:
        parser.error("which sweep? its folder lies in results/sweeps/")
    folder = asked.folder.resolve()
    if asked.keep:
        try:
            folder = keep(folder, asked.keep)
        except (RecordError, OSError) as error:
            print(f"harness.report: {error}", file=sys.stderr)
            return 2
    return conclude(folder)


def _index(results: Path) -> int:
    try:
        print(f"index: {index.build(results)}")
    except OSError as error:
        print(f"harness.report: {error}", file=sys.stderr)
        return 2
    return 0


def conclude(folder: Path) -> int:
    """Build the report of a sweep folder, print its table and path, and return the exit code."""
    tables = Tables(folder)
    try:
        build(tables)
    except RecordError as error:
        print(f"harness.report: {error}", file=sys.stderr)
        return 2
    print(pages.plain_table(_runs_shown(tables)))
    for row in tables.runs.itertuples():
        if row.error:
            print(f"{row.run}: {row.error}")
    print(f"\nreport: {folder / layout.REPORT_HTML}")
    return 0 if tables.runs["status"].isin(records.FINISHED).all() else 1


def build(tables: Tables) -> None:
    """Write runs.csv, verdicts.json, figures/, report.html and report.md into the sweep's folder.

    Raises RecordError where the folder is no sweep or a run's records cannot be read.
    """
    folder, experiment = tables.folder, find(str(tables.about.get("experiment", "none")))
    drawn_from = {picture.table for picture in experiment.pictures}
    of_claims = [measure for claim in claims_of(tables) for measure in claim.measures]
    tables.take([*(DRAWN[name] for name in DRAWN if name in drawn_from), *of_claims])  # each table is read once
    outcomes = judged.judge(tables)
    verdicts, *claims = judged.sections(tables, outcomes)
    sections = [verdicts, _asked(tables, experiment.question), *claims]
    sections.append(Section("Runs", [_runs_shown(tables), *_troubles(tables)]))
    drawn = [_pictures(tables, picture) for picture in experiment.pictures]
    figures = {file: content for _, files in drawn for file, content in files.items()}
    sections += [section for section, _ in drawn if section.parts]
    sections.append(reproducibility.section(tables))
    title = f"{tables.about.get('experiment', 'none')}: " if experiment.question else ""
    html, markdown = pages.render(pages.Page(title + _extent(tables), sections))
    records.write_table(folder / layout.RUNS_TABLE, tables.runs_table)
    judged.write(tables, outcomes)
    _replace_figures(folder / layout.FIGURES, figures)
    records.write_text(folder / layout.REPORT_MARKDOWN, markdown)
    records.write_text(folder / layout.REPORT_HTML, html)


def keep(sweep: Path, name: str) -> Path:
    """Copy a sweep and the tables of its runs to findings/DATE-NAME beside sweeps/; return the new folder.

    Raises RecordError where the folder is no sweep, and FileExistsError where the finding exists.
    """
    tables = Tables(sweep)
    finding = sweep.parent.parent / layout.FINDINGS / f"{date.today().isoformat()}-{name}"
    sources = [run.folder for run in tables.all_runs]
    finding.mkdir(parents=True)
    shutil.copy2(sweep / layout.SWEEP, finding)
    for source in sources:
        shutil.copytree(
            source, finding / layout.RUNS / source.name, ignore=shutil.ignore_patterns(*layout.PRIVATE, ".*", "*.damaged-*")
        )
    return finding


def _asked(tables: Tables, question: str) -> Section:
    flat = flatten(tables.all_runs[0].config)
    varied = {key: ", ".join(map(str, dict.fromkeys(tables.runs[key]))) for key in tables.varying}
    fixed = {key: value for key, value in flat.items() if key not in varied and value not in (None, "")}
    parts: list[pages.Part] = [Text(question)] if question else []
    parts += [Code(str(tables.about.get("command", "")))]
    if varied:
        parts += [Text("What varies:"), pages.facts(varied)]
    parts += [Text("The same in every run: " + ", ".join(f"{key}={pages.word(value)}" for key, value in fixed.items()) + ".")]
    return Section("What was asked", parts)


def _runs_shown(tables: Tables) -> pages.Table:
    """Return one row a run; a key that does nothing in a run has no value there."""
    shown = tables.runs[[*(tables.varying or ["depth", "shortcut"]), *tables.results]].copy()
    for key in tables.varying:
        used = [applies(key, shortcut) for shortcut in tables.runs["shortcut"]]
        shown[key] = shown[key].astype(object).where(used, None)
    return pages.frame(shown)


def _troubles(tables: Tables) -> list[pages.Part]:
    """Say what happened to every run that did not simply end."""
    parts: list[pages.Part] = [Text(ABOUT_RUNS)]
    for row in tables.runs.itertuples():
        if row.status == records.DIVERGED:
            parts.append(Text(f"{row.run} diverged: its loss left the finite numbers; its error is that of a guess."))
        elif row.status not in records.FINISHED:
            parts.append(Text(f"{row.run} is not done, {row.status}{': ' if row.error else '.'}{row.error}"))
    return parts


def _pictures(tables: Tables, picture: Picture) -> tuple[Section, dict[str, bytes]]:
    """Return the section of a picture and its files by name; no parts where its table has no rows."""
    x = picture.x if picture.x in tables.varying else tables.x
    frame = tables.along(x, getattr(tables, picture.table))
    files: dict[str, bytes] = {}
    parts: list[pages.Part] = []
    arms = frame["series"].unique() if len(frame) else []
    if len(arms) > ARMS:
        frame = frame[frame["series"].isin(arms[:ARMS])]
        parts.append(Text(f"The first {ARMS} of {len(arms)} arms are drawn; the tables hold all."))
    for number, figure in enumerate(picture.draw(frame, x) if len(frame) else ()):
        name = pages.unique_name(picture.name, number)
        saved = save(figure)
        files |= {f"{name}.{kind}": content for kind, content in saved.items()}
        parts.append(Drawing(name, picture.caption, saved["svg"].decode()))
    return Section(picture.title, parts), files


def _extent(tables: Tables) -> str:
    """Return what the sweep is about in a few words, for its title."""
    data = "/".join(dict.fromkeys(map(str, tables.runs["data"])))
    count = f"{len(tables.runs)} run{'s' if len(tables.runs) > 1 else ''}"
    return f"{count}, {data}, depth {', '.join(str(depth) for depth in sorted(tables.runs['depth'].unique()))}"


def _replace_figures(folder: Path, figures: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in figures:
            old.unlink()
    for name, content in figures.items():
        records.write_bytes(folder / name, content)


if __name__ == "__main__":
    raise SystemExit(main())
