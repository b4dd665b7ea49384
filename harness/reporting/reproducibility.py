"""Report on reproducibility: command, environments, verification, checklist.

The checklist follows the questions of the NeurIPS reproducibility checklist and of the ACM badges. Every answer comes from the
records and names its evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

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
    "and augmentation. "
)
UNSELECTED = "Nothing was selected on the test images."
SELECTED = "The search chose its trials by the error on the test images, so the least of them is biased towards the better side."


def section(tables: Tables) -> Section:
    """Return the report's section on reproducibility."""
    names = set(tables.finished["run"])
    finished = [run for run in tables.all_runs if run.name in names]
    environments = Counter(tuple(_environment(run).items()) for run in finished)
    checks = _checks(tables)
    elements: list[Element] = [Text("This command requests the same runs; finished runs are reused, the others are trained:")]
    elements.append(Code(str(tables.about.get("command", ""))))
    for environment, count in environments.items():
        elements += [Text(f"{count} run{'s' if count > 1 else ''} on:"), document.facts(dict(environment))]
    search = tables.about.get("search")
    elements.append(Text(PROMISE + (SELECTED if search and search["objective"] == "test_error" else UNSELECTED)))
    if checks:
        rows = list(dict.fromkeys((str(check["run"]), str(check["kind"]), str(check["found"])) for check in checks))
        elements += [Text("Trained again and compared:"), Table(["run", "check", "found"], rows)]
    else:
        text = "These runs have not been checked by training them again (python -m harness.verify SWEEP_FOLDER)."
        elements.append(Text(text))
    elements += [Text("Checklist:"), _checklist(tables, finished, [dict(environment) for environment in environments], checks)]
    return Section("Reproducibility", elements)


def _checklist(
    tables: Tables, finished: Sequence[Run], environments: Sequence[dict[str, str]], checks: Sequence[dict[str, Any]]
) -> Table:
    """Return the table of question, answer and evidence."""
    runs = tables.runs
    seeds, seconds = runs["seed"].nunique(), runs["seconds"].dropna()
    versions = [run.environment["code"] for run in finished]
    commits = sorted({str(version["commit"])[:12] for version in versions if version["commit"]})
    processors = sorted({environment["processor"] for environment in environments})
    checked, different = {check["run"] for check in checks}, {check["run"] for check in checks if not check["same"]}
    where = f"{paths.ENVIRONMENT} of each run"
    rows = [
        ("Data: which, and are they the same?", ", ".join(dict.fromkeys(runs["data"])), f"SHA-256 in {where}"),
        ("Data: how split?", ", ".join(dict.fromkeys(runs["data.split"])), "data.split in runs.csv; the split is fixed"),
        (
            "Code: which version?",
            _code(", ".join(commits), any(version["dirty"] for version in versions)),
            f"code in {where}",
        ),
        ("Environment: all versions?", f"{len(environments)} distinct", f"packages in {where}, constraints.txt of the project"),
        ("Hyper-parameters: all given?", "every key", f"{paths.CONFIG} of each run, {paths.RUNS_TABLE}"),
        ("Hyper-parameters: how chosen?", "searched", f"section Trials, {paths.SWEEP}")
        if "search" in tables.about
        else ("Hyper-parameters: how chosen?", "fixed before the runs", "conf/schedule and docs/science.md of the project"),
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
        (
            "Checked by training again?",
            f"{len(checked - different)} of {len(checked)} runs the same" if checks else "not yet",
            paths.VERIFICATION,
        ),
    ]
    return Table(["question", "answer", "evidence"], rows)


def _checks(tables: Tables) -> list[dict[str, Any]]:
    """Return the outcomes of `harness.verify`: those of the sweep, then those of single runs."""
    checks = []
    for folder in (tables.folder, *(run.folder for run in tables.all_runs)):
        with suppress(RecordError):
            checks += reader.read_json(folder / paths.VERIFICATION)["runs"]
    return checks


def _environment(run: Run) -> dict[str, str]:
    environment = run.environment
    code, packages = environment["code"], environment["packages"]
    return {
        "code": _code(code["commit"], code["dirty"]),
        "data": f"{flatten(run.config)['data']}, {environment['data_checksum']}",
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
        "python": f"{environment['python']}, {environment['system']}",
        "processor": f"{environment['gpu'] or environment['cpu']} ({environment['torch']['cpu_capability']}), "
        f"{environment['threads']} thread(s) a run",
    }


def _code(commits: str | None, dirty: bool) -> str:
    return (commits or "not a git checkout") + (", with uncommitted changes" if dirty else "")
