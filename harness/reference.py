"""Update the generated parts of the pages in docs/.

    python -m harness.reference [--check] [FOLDER]

The text between the lines `<!-- from the code: NAME -->` and `<!-- end -->` of a page is replaced by the part NAME of
harness.reporting.reference_tables. FOLDER is docs by default. With --check nothing is written. Exit code 0; 1 if --check finds
a page that is out of date; 2 if there is no such folder, or no such part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.config.registry import ChoiceError, unknown
from harness.records import writer
from harness.reporting.reference_tables import TABLES
from harness.system import console

MARKED = re.compile(r"^(<!-- from the code: (\w+) -->\n).*?^(<!-- end -->)$", re.DOTALL | re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.begin()
    parser = console.parser("harness.reference", __doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(options.folder.glob("*.md"))}
    if not pages:
        return console.refuse("harness.reference", f"{options.folder}: holds no pages")
    try:
        updates = {page: update(text) for page, text in pages.items()}
    except ChoiceError as error:
        return console.refuse("harness.reference", error)
    stale = [page for page, text in pages.items() if updates[page] != text]
    for page in stale:
        print(f"{page}: {'is out of date' if options.check else 'written'}")
        if not options.check:
            writer.write_text(page, updates[page])
    return 1 if options.check and stale else 0


def update(text: str) -> str:
    """Return a page with its generated parts replaced; raises ChoiceError for a part that does not exist."""

    def fill(match: re.Match[str]) -> str:
        start, name, end = match.groups()
        if name not in TABLES:
            raise unknown("part", name, TABLES)
        return f"{start}\n{TABLES[name]()}\n\n{end}"

    return MARKED.sub(fill, text)


if __name__ == "__main__":
    console.run("harness.reference", main)
