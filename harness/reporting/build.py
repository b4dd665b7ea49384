"""Build a sweep's report from its folder."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from pathlib import Path

from experiments import of_sweep
from harness.analysis.tables import APART, Tables, Unreadable
from harness.config.blocks import applies
from harness.config.flat import as_text
from harness.plots import HEAT_MAPS
from harness.plots.run_tags import key
from harness.records import findings, paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.value_types import printable
from harness.reporting import document, figures, render, reproducibility, trials, verdict_sections
from harness.reporting.document import Code, Element, Fold, Section, Table, Text
from harness.system import console

ABOUT_RUNS = (
    "Errors are in percent, at the end of training, in evaluation mode; batch_error is the mean over the batches of the last "
    "50 steps, in training mode. Times are in seconds. warmup_end is the first step at the full learning rate."
)
ABOUT_APART = (
    "In these runs the error of the batches of the last 50 steps and the error of the training images at the end differ by "
    f"more than {APART:g} points. Batches are augmented and normalised by their own statistics. An evaluation uses running "
    "statistics, which lag behind the weights while a net changes fast; schedule.precise_norm estimates them again before "
    "each evaluation."
)


def refuse(error: Exception) -> int:
    """Print why a report cannot be read or written, and return the exit code 2."""
    return console.refuse("harness.report", reader.describe_error(error))


def conclude(folder: Path, unwritten: int = 0) -> int:
    """Build the report of a sweep, print its runs and the report's path, and return the exit code: 1 if a run is not done.

    If the report cannot be written, the runs are printed nevertheless, and the exit code is at least `unwritten`. If the sweep
    cannot be read, the exit code is `unwritten`, or 1 if that is 0.
    """
    report: Path | None = folder
    try:
        tables = build(folder)
    except (RecordError, OSError) as error:
        refuse(error)
        tables, report = Tables(folder), None
    try:
        code = print_runs(tables, report)
    except BrokenPipeError:
        raise
    except (RecordError, OSError):
        return unwritten or 1
    return code if report else max(code, unwritten)


def print_runs(tables: Tables, folder: Path | None) -> int:
    """Print the runs and the path of the report in `folder`, if any; return 1 if a run is not done, else 0."""
    print(document.plain_table(_runs_table(tables)))
    for run, reason in tables.troubles.items():
        if ": " in reason:
            print(printable(f"{run}: {reason}"))
    if folder:
        print(f"\nreport: {folder / paths.REPORT_HTML}")
    return 1 if tables.troubles else 0


def build(folder: Path) -> Tables:
    """Write runs.csv, verdicts.json, figures/ and the report into a sweep's folder; return the sweep's tables.

    A run with an unreadable table counts as damaged; the other runs are reported as usual. Raises RecordError if the folder is
    no sweep, and OSError if the report cannot be written.
    """
    tables = Tables(folder)
    while True:
        try:
            return _build(tables)
        except Unreadable as error:
            tables = Tables(folder, {**tables.damaged, **error.why})


def _build(tables: Tables) -> Tables:
    folder, experiment = tables.folder, of_sweep(tables)
    measures = [*(picture.source.measures for picture in experiment.pictures), *(claim.measures for claim in experiment.claims)]
    tables.compute(chain.from_iterable(measures))  # one pass over each table
    outcomes = verdict_sections.judge(tables)
    verdicts, *claims = verdict_sections.sections(tables, outcomes)
    drawings = [figures.draw(tables, picture) for picture in dict.fromkeys([*experiment.pictures, HEAT_MAPS])]
    sections = [
        verdicts,
        _request(tables, experiment.question),
        *trials.sections(tables),
        Section("Runs", [_runs_table(tables), *_remarks(tables)]),
        *(drawing.section for drawing in drawings if drawing.section.elements),
        *claims,
        reproducibility.section(tables),
    ]
    title = (f"{tables.about.get('experiment', 'none')}: " if experiment.question else "") + _extent(tables)
    embedded = {name: table for drawing in drawings for name, table in drawing.embedded.items()}
    html, markdown = render.render(document.Document(title, sections, scripts=("heat_map.js",), embedded=embedded))
    files = {file: content for drawing in drawings for file, content in drawing.files.items()}
    figure = next((f"{paths.FIGURES}/{file}" for file in files if file.endswith(".png")), None)
    with figures.exclusive(folder):
        writer.write_table(folder / paths.RUNS_TABLE, tables.runs_table)
        verdict_sections.write(tables, outcomes)
        figures.write(folder, files)
        writer.write_json(folder / paths.REPORT_SUMMARY, {"title": title, "figure": figure})
        writer.write_text(folder / paths.REPORT_MARKDOWN, markdown)
        writer.write_text(folder / paths.REPORT_HTML, html)
    return tables


def keep(sweep: Path, name: str) -> Path:
    """Copy a sweep, its verification and the tables of its runs to findings/DATE-NAME beside sweeps/; return that folder.

    The finding appears atomically, with its report. Raises RecordError if the folder is no sweep or if a file cannot be read,
    ValueError for an invalid name, and OSError if the finding exists or cannot be written.
    """
    tables = Tables(sweep)
    runs = [run.folder for run in tables.all_runs]
    if sweep.parent.name not in (paths.SWEEPS, paths.FINDINGS):
        raise RecordError(f"{sweep}: does not lie in the sweeps/ of a results folder, so there is no findings/ beside it")
    with findings.new_finding(sweep.parent.parent, name) as (aside, finding):
        for file in (sweep / paths.SWEEP, sweep / paths.VERIFICATION):
            if file.is_file():
                writer.write_bytes(aside / file.name, reader.read_bytes(file, reader.MAX_DOCUMENT))
        (aside / paths.RUNS).mkdir()
        for run in runs:
            for file in filter(_is_evidence, sorted(run.iterdir())):
                writer.write_bytes(aside / paths.RUNS / run.name / file.name, reader.read_bytes(file, reader.MAX_TABLE))
        build(aside)
    return finding


def _is_evidence(file: Path) -> bool:
    """Return whether a finding keeps this file of a run. Private, hidden and damaged files are left out."""
    excluded = file.name in paths.PRIVATE or re.search(r"^\.|\.damaged-\d+$", file.name)
    return file.is_file() and not file.is_symlink() and not excluded


def _request(tables: Tables, question: str) -> Section:
    flat = tables.flat_configs[0] if tables.all_runs else {}
    varied = {key: ", ".join(map(as_text, dict.fromkeys(tables.runs[key]))) for key in tables.varying}
    fixed = {key: value for key, value in flat.items() if key not in varied and value not in (None, "", ())}
    elements: list[Element] = [Text(question)] if question else []
    elements.append(Code(str(tables.about.get("command", ""))))
    if varied:
        elements += [Text("What varies:"), document.facts(varied)]
    same = ", ".join(f"{key}={as_text(value)}" for key, value in fixed.items())
    return Section("Requested runs", [*elements, Fold("The same in every run", [Text(f"{same}.")])])


def _runs_table(tables: Tables) -> Table:
    """Return a table with one row per run. A key that has no effect in a run has no value there."""
    runs = tables.runs[[*(tables.varying or ["depth", "shortcut"]), *tables.results]].copy()
    for choice in tables.varying:
        has_effect = [applies(choice, shortcut) for shortcut in tables.runs["shortcut"]]
        runs[choice] = runs[choice].astype(object).where(has_effect, None)
    runs = tables.with_lost(runs)
    return replace(render.frame(runs), tools=True, runs=[key(run) for run in runs["run"]], name="runs")


def _remarks(tables: Tables) -> list[Element]:
    """Explain the columns of the table of runs, and every run with an unusual end."""
    elements: list[Element] = [Text(ABOUT_RUNS)]
    for run in tables.runs["run"][tables.runs["status"] == states.DIVERGED]:
        elements.append(Text(f"{run} diverged: its loss was not finite any more. It counts with the error of a guess."))
    for run, names in tables.runs.set_index("run")["overflowed"].dropna().items():
        text = f"overflowed: the evaluation at the end is not finite ({names.replace(' ', ', ')})"
        elements.append(Text(f"{run} {text} and counts with the error of a guess."))
    if len(tables.apart):
        apart = tables.apart[["run", "batch_error", "train_error"]]
        elements += [Text(ABOUT_APART), render.frame(apart.assign(difference=apart["train_error"] - apart["batch_error"]))]
    return elements + [Text(f"{run} is not done, {reason}") for run, reason in tables.troubles.items()]


def _extent(tables: Tables) -> str:
    """Summarise the runs for the title: their number, data and depths."""
    total = len(tables.runs) + len(tables.lost)
    facts = [f"{total} run{'s' if total > 1 else ''}"]
    if len(tables.runs):
        facts.append("/".join(dict.fromkeys(map(str, tables.runs["data"]))))
        facts.append(f"depth {', '.join(str(depth) for depth in sorted(tables.runs['depth'].unique()))}")
    return ", ".join(facts)
