"""Where a finding is kept: results/findings/DATE-NAME, begun by hand or not."""

from __future__ import annotations

import glob
from datetime import date
from pathlib import Path

from harness import layout


def begin(results: Path, name: str) -> Path:
    """Return the folder that a finding of this name goes to.

    It is a new one of today, or one of any date that holds nothing but a README.md: what is expected stands there before the
    runs. Raises FileExistsError where today's is a finding already.
    """
    findings = results / layout.FINDINGS
    for folder in findings.glob(f"????-??-??-{glob.escape(name)}"):
        if {path.name for path in folder.iterdir()} == {layout.NOTES}:
            return folder
    folder = findings / f"{date.today().isoformat()}-{name}"
    folder.mkdir(parents=True)
    return folder
