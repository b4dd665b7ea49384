"""The documentation's pages and their links, anchors, commands and examples."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def prose(text):
    """Return a page without its fenced code blocks, which contain no links or headings."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors that GitHub gives a page's headings: lower case, no punctuation, hyphens for spaces."""
    result = []
    for heading in re.findall(r"^#+ (.+)$", prose(text), flags=re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        result.append(f"{anchor}-{result.count(anchor)}" if anchor in result else anchor)
    return result


def links(text):
    """Return the targets of all links and images."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text)))


def code_lines(text):
    """Return the lines of indented code blocks without comments: indented by four, after an empty or another such line."""
    result, inside, before = [], False, ""
    for line in prose(text).splitlines():
        inside = line.startswith("    ") and (inside or not before)
        if inside:
            result.append(line.partition(" # ")[0].strip())
        before = line.strip()
    return result


def commands(module):
    """Return (page, arguments) for every `python -m module ...` in a page's code."""
    result = []
    for page in PAGES:
        for line in code_lines(page.read_text()):
            words = shlex.split(line) if re.match(r"\S*python -m ", line) else []
            if words[1:3] == ["-m", module] and not any("[" in word and "=" not in word for word in words):
                result.append((page.name, words[3:]))
    return result


def examples(text):
    """Return the Python examples of a page by file name, if their first line is `# NAME.py`, or else by number."""
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    named = [re.match(r"# (\S+\.py)\n", block) for block in blocks]
    return {name[1] if name else str(number): block for number, (name, block) in enumerate(zip(named, blocks, strict=True))}
