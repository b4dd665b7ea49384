"""Find conf/, its groups and their choices, and read the comments in its YAML files."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

GROUPS = ("data", "schedule", "variant", "experiment", "launcher")


def conf_folder() -> Path:
    """Return the path of conf/: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package.parent / "conf", package / "conf") if (folder / "config.yaml").is_file())


def choices_of(group: str) -> list[str]:
    """Return the names that a group of conf/ offers."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def key_comments(path: Path) -> dict[str, tuple[str, str]]:
    """Return the value, as written, and the comment directly above each key of a YAML file of conf/."""
    keys: dict[str, tuple[str, str]] = {}
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            comment.append(line[2:].strip())
            continue
        if key := re.match(r"(\w+): (.+)$", line):
            keys[key[1]] = (key[2], " ".join(comment))
        comment = []
    return keys


def header_comment(path: Path) -> str:
    """Return the comment at the top of a YAML file of conf/."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
    return " ".join(line[2:].strip() for line in takewhile(lambda line: line.startswith("#"), lines))
