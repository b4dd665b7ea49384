"""Where conf/ lies, its groups, and the names that each offers."""

from __future__ import annotations

from pathlib import Path

GROUPS = ("data", "schedule", "variant", "experiment")


def conf_folder() -> Path:
    """Return where conf/ lies: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    return next(place for place in (package.parent / "conf", package / "conf") if (place / "config.yaml").is_file())


def choices_of(group: str) -> list[str]:
    """Return the names that a group of conf/ offers."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
