"""The name of every file in a run, a sweep and a finding.

RESULTS/runs/LABEL-HASH/       one training
RESULTS/sweeps/LABEL-HASH/     runs requested together: tables, figures, report
RESULTS/findings/DATE-NAME/    a sweep kept as evidence; its runs lie inside it, below runs/
RESULTS/index.html             one page over all sweeps and findings
RESULTS/lab/                   the pages of python -m harness.lab
RESULTS/tracking/TRACKER/      files of a tracker that is written while runs train
RESULTS/exports/NAME/TRACKER/  a sweep, finding or run exported to a tracker, or to parquet
"""

from __future__ import annotations

from pathlib import Path

RUNS = "runs"
SWEEPS = "sweeps"
FINDINGS = "findings"
LOCKS = ".locks"

CONFIG = "config.json"
STATUS = "status.json"
EXECUTION = "execution.json"
ENVIRONMENT = "environment.json"
STEPS = "steps.csv"
EPOCHS = "epochs.csv"
GRADIENT_NORMS = "gradient_norms.npz"
LOG = "log.txt"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.pt"
RESERVE = ".reserve"

SWEEP = "sweep.json"
SLURM = "slurm"
RUNS_TABLE = "runs.csv"
VERDICTS = "verdicts.json"
FIGURES = "figures"
VERIFICATION = "verification.json"
NOTES = "README.md"
REPORT_HTML = "report.html"
REPORT_MARKDOWN = "report.md"
REPORT_SUMMARY = "report.json"
INDEX = "index.html"
LAB = "lab"
TRACKING = "tracking"
EXPORTS = "exports"
EXPORT = "export.json"

PRIVATE = (LOG, WEIGHTS, CHECKPOINT, EXECUTION, GRADIENT_NORMS)
"""Files of a run that a finding omits, since they are large or not evidence."""


def table(name: str) -> str:
    """Return the file name of a run's table: `steps`, `epochs`, `gradient_norms`, or the name of a probe."""
    return {"steps": STEPS, "epochs": EPOCHS, "gradient_norms": GRADIENT_NORMS}.get(name) or probe_table(name)


def probe_table(probe: str) -> str:
    """Return the file name of a probe's table."""
    return f"{probe}.csv.gz"


def run_folder(results: Path, run: str) -> Path:
    return results / RUNS / run


def lock(results: Path, run: str) -> Path:
    """Return the path that stands for the lock of a run; the process that writes the run holds it."""
    return results / LOCKS / run


def sweep_folder(results: Path, sweep: str) -> Path:
    return results / SWEEPS / sweep


def runs_of(sweep: Path) -> Path:
    """Return the folder of a sweep's runs: inside the sweep folder if it is a finding, else RESULTS/runs."""
    inside = sweep / RUNS
    return inside if inside.is_dir() else sweep.parent.parent / RUNS
