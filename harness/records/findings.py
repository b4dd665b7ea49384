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
"""Suffix of the hidden name of a begun finding while the complete one takes its place."""


@contextmanager
def new_finding(results: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Yield a hidden folder to be filled, and the path to which it is renamed after the block. If the block fails, it is removed.

    The finding has today's date. If a begun finding of that name exists, a folder of any date that contains only a README.md with
    the expectations, the new folder takes its place and keeps its README.md.

    Raises:
        ValueError: for a name that cannot be a finding's.
        FileExistsError: if today's finding of that name exists.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"--keep {name!a}: must be letters, digits, hyphens, dots and underscores, at most 100, not a dot first")
    findings = results / paths.FINDINGS
    findings.mkdir(parents=True, exist_ok=True)
    _recover(findings)
    begun = next((folder for folder in sorted(findings.glob(f"????-??-??-{name}")) if _is_begun(folder)), None)
    finding = begun or findings / f"{date.today().isoformat()}-{name}"
    if not begun and finding.exists():
        raise FileExistsError(f"{finding}: is a finding already")
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


def _is_begun(folder: Path) -> bool:
    return folder.is_dir() and [path.name for path in folder.iterdir()] == [paths.NOTES]


def _recover(findings: Path) -> None:
    """Restore the names of begun findings whose place was not taken, and remove the others."""
    for hidden in findings.glob(f".*{BEGUN}"):
        finding = hidden.with_name(hidden.name[1 : -len(BEGUN)])
        if finding.exists():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.rename(finding)
