"""Rebuild the tables, figures and report of a sweep from its run folders alone.

    python -m harness.report SWEEP_FOLDER [--keep NAME]
    python -m harness.report --index [RESULTS_FOLDER]

--keep NAME also keeps the sweep as evidence: results/findings/DATE-NAME, with the tables of its runs inside; a folder of
that name in which there is only a README.md, written before the runs, is filled.
--index builds one page over all sweeps and findings of a results folder (results): index.html.
Exit code 0, 1 if a run of the sweep failed or is not done, 2 if the folder is no sweep that can be read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.declaration import find
from experiments.judging import claims_of
from harness import console, findings, index, judged, layout, pages, records, reproducibility
from harness.config import flatten
from harness.figures import drawn
from harness.network import applies
from harness.pages import Code, Fold, Section, Text
from harness.plots import HEAT_MAPS
from harness.plots.marks import key
from harness.records import RecordError
from harness.tables import DRAWN, Tables

ABOUT_RUNS = (
    "Errors in percent, at the end, in evaluation mode; time in seconds; warmup_end is the step from which the learning rate "
    "was the full one."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    console.begin()
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
    drawings = [drawn(tables, picture) for picture in dict.fromkeys([*experiment.pictures, HEAT_MAPS])]
    sections = [verdicts, _asked(tables, experiment.question)]
    sections.append(Section("Runs", [_runs_shown(tables), *_troubles(tables)]))
    sections += [one.section for one in drawings if one.section.parts]
    sections += [*claims, reproducibility.section(tables)]
    title = (f"{tables.about.get('experiment', 'none')}: " if experiment.question else "") + _extent(tables)
    behind = {name: table for one in drawings for name, table in one.embedded.items()}
    html, markdown = pages.render(pages.Page(title, sections, scripts=("heat_map.js",), embedded=behind))
    records.write_table(folder / layout.RUNS_TABLE, tables.runs_table)
    judged.write(tables, outcomes)
    _replace_figures(folder / layout.FIGURES, {file: content for one in drawings for file, content in one.files.items()})
    records.write_text(folder / layout.REPORT_MARKDOWN, markdown)
    records.write_text(folder / layout.REPORT_HTML, html)


def keep(sweep: Path, name: str) -> Path:
    """Copy a sweep, what a check found, and the tables of its runs to findings/DATE-NAME beside sweeps/; return that folder.

    Raises RecordError where the folder is no sweep, and FileExistsError where the finding exists.
    """
    tables = Tables(sweep)
    sources = [run.folder for run in tables.all_runs]
    finding = findings.begin(sweep.parent.parent, name)
    for name in (layout.SWEEP, layout.VERIFICATION):
        if (sweep / name).is_file():
            shutil.copy2(sweep / name, finding)
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
    same = ", ".join(f"{key}={pages.word(value)}" for key, value in fixed.items())
    return Section("What was asked", [*parts, Fold("The same in every run", [Text(f"{same}.")])])


def _runs_shown(tables: Tables) -> pages.Table:
    """Return one row a run; a key that does nothing in a run has no value there."""
    shown = tables.runs[[*(tables.varying or ["depth", "shortcut"]), *tables.results]].copy()
    for choice in tables.varying:
        used = [applies(choice, shortcut) for shortcut in tables.runs["shortcut"]]
        shown[choice] = shown[choice].astype(object).where(used, None)
    rows = pages.frame(shown)
    return replace(rows, tools=True, runs=[key(run) for run in tables.runs["run"]], name="runs")


def _troubles(tables: Tables) -> list[pages.Part]:
    """Say what happened to every run that did not simply end."""
    parts: list[pages.Part] = [Text(ABOUT_RUNS)]
    for row in tables.runs.itertuples():
        if row.status == records.DIVERGED:
            parts.append(Text(f"{row.run} diverged: its loss left the finite numbers; its error is that of a guess."))
        elif row.status not in records.FINISHED:
            parts.append(Text(f"{row.run} is not done, {row.status}{': ' if row.error else '.'}{row.error}"))
    return parts


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
    console.run("harness.report", main)
