"""The report's section on reproducibility: how to have the runs again, where they ran, what a check found, a checklist.

The checklist follows the questions of the NeurIPS reproducibility checklist and of the ACM's badges; every line is answered
from the records, with its evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from harness.analysis.tables import Tables
from harness.config.flat import flatten
from harness.records import paths, reader
from harness.records.progress import duration
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.reporting import document
from harness.reporting.document import Code, Part, Section, Table, Text

PROMISE = (
    "With equal package versions, number of threads, device and type of processor the numbers are the same to the last bit, "
    "whatever else runs beside; otherwise they agree to rounding at first, and deep plain nets may end further apart than "
    "two seeds. The seed is the root of separate streams for initial values, order of the images and augmentation. Nothing was "
    "selected on the test images."
)


def section(tables: Tables) -> Section:
    """Return the section for a sweep."""
    parts: list[Part] = [Text("This asks for the same runs; those that are done are reused, the others are trained:")]
    parts.append(Code(str(tables.about.get("command", ""))))
    environments = _environments(tables)
    for about, names in environments:
        parts += [Text(f"{len(names)} run{'s' if len(names) > 1 else ''} on:"), document.facts(about)]
    parts += [Text(PROMISE), *_verification(tables), Text("Checklist:"), checklist(tables, len(environments))]
    return Section("Reproducibility", parts)


def checklist(tables: Tables, environments: int) -> Table:
    """Return the checklist: question, answer, evidence."""
    done, runs = tables.finished, tables.runs
    seeds = runs["seed"].nunique()
    where = f"{paths.ENVIRONMENT} of each run"
    seconds = runs["seconds"].dropna()
    commits = {str(run.environment["code"]["commit"]) for run in _with_environment(tables)}
    dirty = any(run.environment["code"]["dirty"] for run in _with_environment(tables))
    rows = [
        ("Data: which, and are they the same?", ", ".join(dict.fromkeys(runs["data"])), f"SHA-256 in {where}"),
        ("Data: how split?", ", ".join(dict.fromkeys(runs["data.split"])), "data.split in runs.csv; the split is fixed"),
        ("Code: which version?", _code(commits, dirty), f"code in {where}"),
        ("Environment: all versions?", f"{environments} distinct", f"packages in {where}, constraints.txt of the project"),
        ("Hyper-parameters: all given?", "every key", f"{paths.CONFIG} of each run, {paths.RUNS_TABLE}"),
        ("Hyper-parameters: how chosen?", "fixed before the runs", "conf/schedule and docs/science.md of the project"),
        ("Number of runs?", f"{len(done)} of {len(runs)} finished, {seeds} seed{'s' if seeds > 1 else ''}", paths.RUNS_TABLE),
        (
            "Intervals?",
            "95 %, over seeds; every run is a dot" if seeds > 1 else "none: one seed shows no spread",
            "verdicts, figures",
        ),
        ("Run time?", f"{duration(seconds.sum())} in all" if len(seconds) else "none yet", f"seconds in {paths.RUNS_TABLE}"),
        ("Hardware?", ", ".join(sorted(_hardware(tables))) or "none yet", f"cpu, gpu and threads in {where}"),
        ("Runs that failed or diverged shown?", "yes", "section Runs"),
        ("Checked by training again?", _checked(tables), paths.VERIFICATION),
    ]
    return Table(["question", "answer", "evidence"], rows)


def _code(commits: set[str], dirty: bool) -> str:
    known = sorted(commit[:12] for commit in commits if commit != "None")
    return (", ".join(known) or "not a git checkout") + (", with uncommitted changes" if dirty else "")


def _hardware(tables: Tables) -> set[str]:
    return {_environment(run)["processor"] for run in _with_environment(tables)}


def _with_environment(tables: Tables) -> list[Run]:
    """Return the finished runs, which all have an environment."""
    names = set(tables.finished["run"])
    return [run for run in tables.all_runs if run.name in names]


def _verification(tables: Tables) -> list[Part]:
    """Say what `harness.verify` found, where it was run on this sweep or on single runs of it."""
    outcomes = _outcomes(tables)
    if not outcomes:
        return [Text("These runs have not been checked by training them again (python -m harness.verify SWEEP_FOLDER).")]
    rows = list(dict.fromkeys((str(one["run"]), str(one["kind"]), str(one["found"])) for one in outcomes))
    return [Text("Trained again and compared:"), Table(["run", "check", "found"], rows)]


def _checked(tables: Tables) -> str:
    outcomes = _outcomes(tables)
    checked, other = {one["run"] for one in outcomes}, {one["run"] for one in outcomes if not one["same"]}
    return f"{len(checked - other)} of {len(checked)} runs the same" if outcomes else "not yet"


def _outcomes(tables: Tables) -> Sequence[dict[str, object]]:
    """Return what was found when the sweep was checked, then what was found of single runs."""
    found = []
    for folder in (tables.folder, *(run.folder for run in tables.all_runs)):
        with suppress(RecordError):
            found += reader.read_json(folder / paths.VERIFICATION)["runs"]
    return found


def _environments(tables: Tables) -> list[tuple[dict[str, str], list[str]]]:
    """Return the distinct environments of the finished runs, each with the names of its runs."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in _with_environment(tables):
        found.setdefault(tuple(_environment(run).items()), []).append(run.name)
    return [(dict(about), names) for about, names in found.items()]


def _environment(run: Run) -> dict[str, str]:
    about = run.environment
    code, packages = about["code"], about["packages"]
    commit = code["commit"] or "not a git checkout"
    return {
        "code": f"{commit}{', with uncommitted changes' if code['dirty'] else ''}",
        "data": f"{flatten(run.config)['data']}, {about['data_checksum']}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
        "python": f"{about['python']}, {about['system']}",
        "processor": f"{about['gpu'] or about['cpu']} ({about['torch']['cpu_capability']}), {about['threads']} thread(s) a run",
    }
