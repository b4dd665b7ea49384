"""Write into the pages of docs/ what the code says of itself.

    python -m harness.reference [--check] [FOLDER]

A page has places between two lines `<!-- from the code: NAME -->` and `<!-- end -->`; what stands there is replaced by the part
NAME of harness.reporting.reference_tables. FOLDER is docs unless given. With --check nothing is written. Exit code 0; 1 if
--check finds a page that is not what the code gives; 2 if there is no such folder, or a page asks for a part that does not exist.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.config.registry import ChoiceError, unknown
from harness.records import writer
from harness.reporting.reference_tables import TABLES
from harness.system import console

MARKED = re.compile(r"^(<!-- from the code: (\w+) -->\n).*?^(<!-- end -->)$", re.DOTALL | re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    console.begin()
    parser = argparse.ArgumentParser(
        prog="python -m harness.reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(arguments)
    pages = sorted(asked.folder.glob("*.md"))
    if not pages:
        print(f"harness.reference: {asked.folder}: holds no pages", file=sys.stderr)
        return 2
    try:
        stale = [page for page in pages if renewed(text := page.read_text(encoding="utf-8")) != text]
    except ChoiceError as error:
        print(f"harness.reference: {error}", file=sys.stderr)
        return 2
    for page in stale:
        print(f"{page}: {'is not what the code gives' if asked.check else 'written'}")
        if not asked.check:
            writer.write_text(page, renewed(page.read_text(encoding="utf-8")))
    return 1 if asked.check and stale else 0


def renewed(text: str) -> str:
    """Return a page with its marked places filled; raises ChoiceError for a part that does not exist."""

    def fill(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise unknown("part", found[2], TABLES)
        return f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}"

    return MARKED.sub(fill, text)


if __name__ == "__main__":
    console.run("harness.reference", main)
