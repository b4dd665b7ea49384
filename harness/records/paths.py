"""The name of every file in a run, a sweep and a finding.

RESULTS/runs/LABEL-HASH/       one training
RESULTS/sweeps/LABEL-HASH/     runs requested together: tables, figures, report
RESULTS/findings/DATE-NAME/    a sweep kept as evidence; its runs lie inside it, below runs/
RESULTS/index.html             one page over all sweeps and findings
RESULTS/lab/                   the pages of python -m harness.lab
"""

from __future__ import annotations

from pathlib import Path

RUNS = "runs"
SWEEPS = "sweeps"
FINDINGS = "findings"
LAUNCH = ".launch"
LOCKS = ".locks"
JOBS = "jobs.json"
STOP = "stop"
ENDED = "ended"
BUSY = "busy"
ALIVE = "alive"

CONFIG = "config.json"
STATUS = "status.json"
ENVIRONMENT = "environment.json"
STEPS = "steps.csv"
EPOCHS = "epochs.csv"
GRADIENT_NORMS = "gradient_norms.npz"
LOG = "log.txt"
WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.pt"
RESERVE = ".reserve"

SWEEP = "sweep.json"
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

PRIVATE = (LOG, WEIGHTS, CHECKPOINT, GRADIENT_NORMS)
"""Files of a run that a finding omits, since they are large or no evidence."""


def table(name: str) -> str:
    """Return the file name of the table `steps`, `epochs` or `gradient_norms`, or of the probe `name`."""
    if name == "gradient_norms":
        return GRADIENT_NORMS
    return f"{name}.csv" if name in ("steps", "epochs") else probe_table(name)


def probe_table(probe: str) -> str:
    """Return the file name of a probe's table."""
    return f"{probe}.csv.gz"


def run_folder(results: Path, run: str) -> Path:
    return results / RUNS / run


def lock(results: Path, run: str) -> Path:
    """Return the file that the process that writes the run has locked."""
    return results / LOCKS / run


def sweep_folder(results: Path, sweep: str) -> Path:
    return results / SWEEPS / sweep


def runs_of(sweep: Path) -> Path:
    """Return the folder of a sweep's runs: inside the sweep folder of a finding, else beside its parent."""
    inside = sweep / RUNS
    return inside if inside.is_dir() else sweep.parent.parent / RUNS
