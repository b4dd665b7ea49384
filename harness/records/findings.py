"""Create the folder of a finding, results/findings/DATE-NAME."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from harness.records import paths, reader, writer

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
BEGUN = ".begun"
"""Suffix of the hidden name of a begun finding while the complete one replaces it."""


@contextmanager
def new_finding(results: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Yield a hidden folder, and the path to which it is renamed after the block. If the block fails, the folder is removed.

    The finding has today's date. A begun finding of that name, which has any date and contains only a README.md with the
    expectations, is replaced by the new folder, which keeps its name and its README.md.

    Raises:
        ValueError: if the name is invalid.
        FileExistsError: if today's finding of that name exists.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"--keep {name!a}: must be letters, digits, hyphens, dots and underscores, at most 100, not a dot first")
    findings = results / paths.FINDINGS
    findings.mkdir(parents=True, exist_ok=True)
    _recover(findings)
    earlier = sorted(findings.glob(f"????-??-??-{name}"))
    begun = next((folder for folder in earlier if [path.name for path in folder.glob("*")] == [paths.NOTES]), None)
    finding = begun or findings / f"{date.today().isoformat()}-{name}"
    if not begun and finding.exists():
        raise FileExistsError(f"{finding}: this finding already exists")
    hidden = Path(tempfile.mkdtemp(prefix=f".{finding.name}.", dir=findings))
    try:
        hidden.chmod(0o755)
        if begun:
            writer.write_bytes(hidden / paths.NOTES, reader.read_bytes(begun / paths.NOTES, reader.MAX_DOCUMENT))
        yield hidden, finding
        if begun:
            begun.rename(begun.with_name(f".{begun.name}{BEGUN}"))
        hidden.rename(finding)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    finally:
        _recover(findings)


def _recover(findings: Path) -> None:
    """Restore the names of begun findings that were not replaced, and remove the others."""
    for hidden in findings.glob(f".*{BEGUN}"):
        finding = hidden.with_name(hidden.name[1 : -len(BEGUN)])
        if finding.exists():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.rename(finding)
