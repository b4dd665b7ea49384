"""Report on reproducibility: command, environments, verification, checklist.

The checklist follows the questions of the NeurIPS reproducibility checklist and of the ACM badges. Every answer comes from the
records and names its evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from harness.analysis.tables import Tables
from harness.config.flat import flatten
from harness.records import paths, reader
from harness.records.progress import duration
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.reporting import document
from harness.reporting.document import Code, Element, Section, Table, Text

PROMISE = (
    "With equal package versions, number of threads, device and type of processor, the numbers are equal to the last bit, "
    "regardless of other runs at the same time. Otherwise they agree up to rounding at first, and deep plain nets may end "
    "further apart than two seeds. The seed is the root of separate random streams for initial values, order of the images "
    "and augmentation. Nothing was selected on the test images."
)


def section(tables: Tables) -> Section:
    elements: list[Element] = [Text("This command requests the same runs; finished runs are reused, the others are trained:")]
    elements.append(Code(str(tables.about.get("command", ""))))
    environments = _environments(tables)
    for environment, count in environments.items():
        elements += [Text(f"{count} run{'s' if count > 1 else ''} on:"), document.facts(dict(environment))]
    elements += [Text(PROMISE), *_verification(tables), Text("Checklist:"), checklist(tables, len(environments))]
    return Section("Reproducibility", elements)


def checklist(tables: Tables, environments: int) -> Table:
    """Return the table of question, answer and evidence."""
    finished, runs = tables.finished, tables.runs
    seeds = runs["seed"].nunique()
    where = f"{paths.ENVIRONMENT} of each run"
    seconds = runs["seconds"].dropna()
    code = [run.environment["code"] for run in _finished(tables)]
    processors = sorted({_environment(run)["processor"] for run in _finished(tables)})
    rows = [
        ("Data: which, and are they the same?", ", ".join(dict.fromkeys(runs["data"])), f"SHA-256 in {where}"),
        ("Data: how split?", ", ".join(dict.fromkeys(runs["data.split"])), "data.split in runs.csv; the split is fixed"),
        ("Code: which version?", _versions(code), f"code in {where}"),
        ("Environment: all versions?", f"{environments} distinct", f"packages in {where}, constraints.txt of the project"),
        ("Hyper-parameters: all given?", "every key", f"{paths.CONFIG} of each run, {paths.RUNS_TABLE}"),
        ("Hyper-parameters: how chosen?", "fixed before the runs", "conf/schedule and docs/science.md of the project"),
        (
            "Number of runs?",
            f"{len(finished)} of {len(runs)} finished, {seeds} seed{'s' if seeds > 1 else ''}",
            paths.RUNS_TABLE,
        ),
        (
            "Intervals?",
            "95 %, over seeds; every run is a dot" if seeds > 1 else "none: one seed shows no spread",
            "verdicts, figures",
        ),
        ("Run time?", f"{duration(seconds.sum())} in all" if len(seconds) else "none yet", f"seconds in {paths.RUNS_TABLE}"),
        ("Hardware?", ", ".join(processors) or "none yet", f"cpu, gpu and threads in {where}"),
        ("Runs that failed or diverged shown?", "yes", "section Runs"),
        ("Checked by training again?", _checked(tables), paths.VERIFICATION),
    ]
    return Table(["question", "answer", "evidence"], rows)


def _versions(code: Sequence[dict[str, object]]) -> str:
    commits = sorted({str(version["commit"])[:12] for version in code if version["commit"]})
    changed = any(version["dirty"] for version in code)
    return (", ".join(commits) or "not a git checkout") + (", with uncommitted changes" if changed else "")


def _finished(tables: Tables) -> list[Run]:
    names = set(tables.finished["run"])
    return [run for run in tables.all_runs if run.name in names]


def _verification(tables: Tables) -> list[Element]:
    checks = _checks(tables)
    if not checks:
        return [Text("These runs have not been checked by training them again (python -m harness.verify SWEEP_FOLDER).")]
    rows = list(dict.fromkeys((str(check["run"]), str(check["kind"]), str(check["found"])) for check in checks))
    return [Text("Trained again and compared:"), Table(["run", "check", "found"], rows)]


def _checked(tables: Tables) -> str:
    checks = _checks(tables)
    checked, different = {check["run"] for check in checks}, {check["run"] for check in checks if not check["same"]}
    return f"{len(checked - different)} of {len(checked)} runs the same" if checks else "not yet"


def _checks(tables: Tables) -> list[dict[str, object]]:
    """Return what `harness.verify` found on the sweep, then on single runs."""
    checks = []
    for folder in (tables.folder, *(run.folder for run in tables.all_runs)):
        with suppress(RecordError):
            checks += reader.read_json(folder / paths.VERIFICATION)["runs"]
    return checks


def _environments(tables: Tables) -> Counter[tuple[tuple[str, str], ...]]:
    """Count the finished runs by environment."""
    return Counter(tuple(_environment(run).items()) for run in _finished(tables))


def _environment(run: Run) -> dict[str, str]:
    environment = run.environment
    code, packages = environment["code"], environment["packages"]
    return {
        "code": f"{code['commit'] or 'not a git checkout'}{', with uncommitted changes' if code['dirty'] else ''}",
        "data": f"{flatten(run.config)['data']}, {environment['data_checksum']}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
        "python": f"{environment['python']}, {environment['system']}",
        "processor": f"{environment['gpu'] or environment['cpu']} ({environment['torch']['cpu_capability']}), "
        f"{environment['threads']} thread(s) a run",
    }
