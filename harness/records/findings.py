"""Where a finding is kept: results/findings/DATE-NAME, begun by hand or not."""

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
"""The end of the hidden name that a begun finding has for the moment in which the whole one takes its place."""


@contextmanager
def filled(results: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Give a hidden folder to be filled, and the one that it becomes after the block; it is removed where the block fails.

    That is a new one of today, or one of any date that holds nothing but a README.md, which stays in it: what is expected
    stands there before the runs. Raises ValueError for a name that is none, FileExistsError where today's is a finding already.
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
    aside = Path(tempfile.mkdtemp(prefix=f".{finding.name}.", dir=findings))
    try:
        aside.chmod(0o755)
        if begun:
            writer.write_bytes(aside / paths.NOTES, reader.read_bytes(begun / paths.NOTES, reader.DOCUMENT))
        yield aside, finding
        if begun:
            begun.rename(_hidden(begun))
        aside.rename(finding)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        _recover(findings)


def _is_begun(folder: Path) -> bool:
    return folder.is_dir() and [path.name for path in folder.iterdir()] == [paths.NOTES]


def _hidden(finding: Path) -> Path:
    return finding.with_name(f".{finding.name}{BEGUN}")


def _recover(findings: Path) -> None:
    """Give begun findings their place again where the whole one did not take it."""
    for hidden in findings.glob(f".*{BEGUN}"):
        finding = hidden.with_name(hidden.name[1 : -len(BEGUN)])
        if finding.exists():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.rename(finding)
