"""Find the runs that another trainer left in a folder, with their choices and their metrics by step."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.importing import csv_files, tensorboard_files, wandb_files
from harness.records import reader
from harness.records.reader import RecordError

Metrics = dict[str, dict[int, float]]
"""Values by metric and step."""
Read = Callable[[Sequence[Path]], tuple[Metrics, dict[str, Any]]]
"""A function that returns the metrics in some files, and the choices in them. Raises RecordError."""
FORMATS: Mapping[str, tuple[str, Read]] = {
    "Weights & Biases": (r".*\.wandb", wandb_files.read),
    "TensorBoard": (r".*\.tfevents\..*", tensorboard_files.read),
    "CSV": (r".*\.csv", csv_files.read),
}
"""The files of each format, and their reader; of a folder with several formats the first one is read."""
CONFIGS = (
    *("config.json", "hparams.json", "params.json", "args.json", "config.yaml", "hparams.yaml", "params.yaml", "args.yaml"),
    ".hydra/config.yaml",
)
"""The files in a run's folder that may have its choices."""
IN_NAME = re.compile(r"([^\W\d][\w.]*)=([^,;/\s]+)")


@dataclass(frozen=True)
class ForeignRun:
    """A run of another trainer: its path below the folder, its choices by dotted key, its metrics by step, and their format."""

    name: str
    choices: Mapping[str, Any]
    metrics: Metrics
    format: str


def read_runs(folder: Path) -> tuple[list[ForeignRun], dict[str, str]]:
    """Return the runs below a folder, and why others could not be read, by name.

    A run is a topmost folder that has files of one of FORMATS, with everything below it; each such file directly in `folder` is a
    run of its own. Raises RecordError if there is no run at all, and ChoiceError if the package for a format is missing.
    """
    runs, troubles = list[ForeignRun](), dict[str, str]()
    for place in _places(folder, folder, troubles):
        name = str(place.relative_to(folder))
        try:
            runs.append(_read(place, name))
        except RecordError as error:
            troubles[name] = str(error).replace(f"{folder}{os.sep}", "")
    if not runs and not troubles:
        raise RecordError(f"{folder}: has no runs: no file ends in .csv or .wandb, or has .tfevents. in its name")
    return runs, troubles


def _places(folder: Path, top: Path, troubles: dict[str, str]) -> Iterator[Path]:
    """Yield the folder or file of each run below `top`; note in `troubles` which folders cannot be looked into."""
    try:
        children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        if folder == top:
            raise RecordError(reader.describe_error(error)) from error
        troubles[str(folder.relative_to(top))] = reader.describe_error(error)
        return
    files = [child for child in children if child.is_file() and _format(child.name)]
    if files and folder != top:
        yield folder
        return
    yield from files
    for child in children:
        if child.is_dir() and not child.is_symlink():
            yield from _places(child, top, troubles)


def _format(name: str) -> str:
    return next((kind for kind, (pattern, _) in FORMATS.items() if re.fullmatch(pattern, name)), "")


def _read(place: Path, name: str) -> ForeignRun:
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    kind = next(kind for kind in FORMATS if any(_format(path.name) == kind for path in files))
    metrics, choices = FORMATS[kind][1]([path for path in files if _format(path.name) == kind])
    if not metrics:
        raise RecordError(f"{place}: has no numbers that were logged")
    beside = [place / config for config in CONFIGS] if place.is_dir() else [place.with_suffix(s) for s in (".json", ".yaml")]
    in_name = {key: _value(text) for key, text in IN_NAME.findall(name.removesuffix(".csv"))}
    for path in filter(Path.is_file, beside):
        choices |= _config(path)
    return ForeignRun(name, in_name | choices, metrics, kind)


def _value(text: str) -> Any:
    """Return a value in a name as YAML reads it, or as text."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def _config(path: Path) -> dict[str, Any]:
    """Return the content of a JSON or YAML file by dotted key."""
    text = reader.read_text(path)
    with reader.parsing(path):
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if not isinstance(content, dict):
            raise RecordError(f"{path}: has no keys")
        return dict(dotted(content))


def dotted(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested keys joined by dots, with their values; a list is one value."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
