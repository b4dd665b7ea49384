"""Build a sweep's report from its folder."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

from experiments import claims_of, find
from harness.analysis.tables import APART, DRAWN, Tables, Unreadable
from harness.config.network import applies
from harness.plots import HEAT_MAPS
from harness.plots.run_tags import key
from harness.records import findings, paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.value_types import printable
from harness.reporting import document, figures, render, reproducibility, verdict_sections
from harness.reporting.document import Code, Fold, Section, Text
from harness.reporting.figures import drawn

ABOUT_RUNS = (
    "Errors in percent, at the end, in evaluation mode; batch_error is the mean over the batches of the last 50 steps, in "
    "training mode; time in seconds; warmup_end is the step from which the learning rate was the full one."
)
ABOUT_APART = (
    f"The error of the last 50 steps' batches and that of the training images at the end differ by more than {APART:g} points "
    "in these runs. Batches are augmented and normalised by their own statistics; an evaluation uses running statistics, which "
    "lag behind the weights of a net that is still changing fast; schedule.precise_norm estimates them anew before an evaluation."
)


def _refused(error: Exception) -> int:
    print(f"harness.report: {reader.words(error)}", file=sys.stderr)
    return 2


def conclude(folder: Path, unwritten: int = 0) -> int:
    """Build the report of a sweep folder, print what became of its runs and the report's path, and return the exit code.

    It is 1 if a run is not done. Where the report cannot be written that is said on stderr, the runs are printed all the same,
    and the exit code is at least `unwritten`; where the sweep cannot be read it is not 0.
    """
    tables, written = Tables(folder), False
    try:
        tables, written = build(folder), True
    except (RecordError, OSError) as error:
        _refused(error)
    try:
        code = _told(tables, folder if written else None)
    except BrokenPipeError:  # nobody reads what is printed
        raise
    except (RecordError, OSError):
        return unwritten or 1
    return code if written else max(code, unwritten)


def _told(tables: Tables, folder: Path | None) -> int:
    """Print the runs and, if there is one, where the report lies; return 1 if a run is not done, else 0."""
    print(document.plain_table(_runs_shown(tables)))
    for run, why in tables.troubles.items():
        if ": " in why:
            print(printable(f"{run}: {why}"))
    if folder:
        print(f"\nreport: {folder / paths.REPORT_HTML}")
    return 1 if tables.troubles else 0


def build(folder: Path) -> Tables:
    """Write runs.csv, verdicts.json, figures/, report.html and report.md into a sweep's folder; return its tables.

    Raises RecordError where the folder is no sweep, and OSError where the report cannot be written. A run with a table that
    cannot be read counts as damaged, and costs the others nothing.
    """
    tables = Tables(folder)
    while True:
        try:
            return _build(tables)
        except Unreadable as error:
            tables = Tables(folder, {**tables.damaged, **error.why})


def _build(tables: Tables) -> Tables:
    folder, experiment = tables.folder, find(str(tables.about.get("experiment", "none")))
    drawn_from = {picture.table for picture in experiment.pictures}
    of_claims = [measure for claim in claims_of(tables) for measure in claim.measures]
    tables.take([*(DRAWN[name] for name in DRAWN if name in drawn_from), *of_claims])  # each table is read once
    outcomes = verdict_sections.judge(tables)
    verdicts, *claims = verdict_sections.sections(tables, outcomes)
    drawings = [drawn(tables, picture) for picture in dict.fromkeys([*experiment.pictures, HEAT_MAPS])]
    sections = [verdicts, _asked(tables, experiment.question)]
    sections.append(Section("Runs", [_runs_shown(tables), *_troubles(tables)]))
    sections += [one.section for one in drawings if one.section.parts]
    sections += [*claims, reproducibility.section(tables)]
    title = (f"{tables.about.get('experiment', 'none')}: " if experiment.question else "") + _extent(tables)
    behind = {name: table for one in drawings for name, table in one.embedded.items()}
    html, markdown = render.render(document.Page(title, sections, scripts=("heat_map.js",), embedded=behind))
    with figures.alone(folder):
        writer.write_table(folder / paths.RUNS_TABLE, tables.runs_table)
        verdict_sections.write(tables, outcomes)
        figures.write(folder / paths.FIGURES, {file: content for one in drawings for file, content in one.files.items()})
        writer.write_text(folder / paths.REPORT_MARKDOWN, markdown)
        writer.write_text(folder / paths.REPORT_HTML, html)
    return tables


def keep(sweep: Path, name: str) -> Path:
    """Copy a sweep, what a check found, and the tables of its runs to findings/DATE-NAME beside sweeps/; return that folder.

    It appears there whole, with its report, or not at all. Raises RecordError where the folder is no sweep or a file of it
    cannot be read, ValueError where the name is none, and OSError where the finding exists or cannot be written.
    """
    tables = Tables(sweep)
    sources = [run.folder for run in tables.all_runs]
    if sweep.parent.name not in (paths.SWEEPS, paths.FINDINGS):
        raise RecordError(f"{sweep}: does not lie in the sweeps/ of a results folder, so there is no findings/ beside it")
    with findings.filled(sweep.parent.parent, name) as (aside, finding):
        for file in (sweep / paths.SWEEP, sweep / paths.VERIFICATION):
            if file.is_file():
                writer.write_bytes(aside / file.name, reader.read_bytes(file, reader.DOCUMENT))
        (aside / paths.RUNS).mkdir()
        for source in sources:
            for file in sorted(source.iterdir()):
                if (
                    file.is_file()
                    and not file.is_symlink()
                    and file.name not in paths.PRIVATE
                    and not re.search(r"^\.|\.damaged-\d+$", file.name)
                ):
                    writer.write_bytes(aside / paths.RUNS / source.name / file.name, reader.read_bytes(file, reader.TABLE))
        build(aside)
    return finding


def _asked(tables: Tables, question: str) -> Section:
    flat = tables.flat_as_asked[0] if tables.all_runs else {}
    varied = {key: ", ".join(map(str, dict.fromkeys(tables.runs[key]))) for key in tables.varying}
    fixed = {key: value for key, value in flat.items() if key not in varied and value not in (None, "")}
    parts: list[document.Part] = [Text(question)] if question else []
    parts += [Code(str(tables.about.get("command", "")))]
    if varied:
        parts += [Text("What varies:"), document.facts(varied)]
    same = ", ".join(f"{key}={document.word(value)}" for key, value in fixed.items())
    return Section("What was asked", [*parts, Fold("The same in every run", [Text(f"{same}.")])])


def _runs_shown(tables: Tables) -> document.Table:
    """Return one row a run; a key that does nothing in a run has no value there."""
    shown = tables.runs[[*(tables.varying or ["depth", "shortcut"]), *tables.results]].copy()
    for choice in tables.varying:
        used = [applies(choice, shortcut) for shortcut in tables.runs["shortcut"]]
        shown[choice] = shown[choice].astype(object).where(used, None)
    shown = tables.with_lost(shown)
    return replace(render.frame(shown), tools=True, runs=[key(run) for run in shown["run"]], name="runs")


def _troubles(tables: Tables) -> list[document.Part]:
    """Say what happened to every run that did not simply end."""
    parts: list[document.Part] = [Text(ABOUT_RUNS)]
    for run in tables.runs["run"][tables.runs["status"] == states.DIVERGED]:
        parts.append(Text(f"{run} diverged: its loss left the finite numbers; its error is that of a guess."))
    overflowed = tables.runs[tables.runs["overflowed"].notna()]
    for run, which in zip(overflowed["run"], overflowed["overflowed"], strict=True):
        named = which.replace(" ", ", ")
        parts.append(Text(f"{run} overflowed: the evaluation at the end is not finite ({named}); that error is that of a guess."))
    if len(tables.apart):
        shown = tables.apart[["run", "batch_error", "train_error"]]
        difference = shown["train_error"] - shown["batch_error"]
        parts += [Text(ABOUT_APART), render.frame(shown.assign(difference=difference))]
    return parts + [Text(f"{run} is not done, {why}") for run, why in tables.troubles.items()]


def _extent(tables: Tables) -> str:
    """Return what the sweep is about in a few words, for its title."""
    total = len(tables.runs) + len(tables.lost)
    words = [f"{total} run{'s' if total > 1 else ''}"]
    if len(tables.runs):
        words.append("/".join(dict.fromkeys(map(str, tables.runs["data"]))))
        words.append(f"depth {', '.join(str(depth) for depth in sorted(tables.runs['depth'].unique()))}")
    return ", ".join(words)
