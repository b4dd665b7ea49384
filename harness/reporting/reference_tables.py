"""What there is to choose, to read and to run, as Markdown tables made from the declarations themselves.

Keys, defaults and comments are those of conf/, names those of `harness.config.registry` and of the enums, files and columns
those of
`harness.records.paths` and `harness.records.schema`, experiments and claims those of `experiments`, commands the docstrings of
entry points."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from experiments import all_claims, registry
from harness.analysis.published import PUBLISHED
from harness.config.conf import choices_of, conf_folder
from harness.config.network import DEPTHS
from harness.config.registry import BUILT_IN
from harness.config.run import RunConfig
from harness.records import paths, schema
from harness.records.schema import Sentences

HARNESS = Path(__file__).resolve().parents[1]
USAGE = re.compile(r"^ +python -m harness\.(\w+)(?!.*started by)", re.MULTILINE)
"""How an entry point's docstring shows its command; one that only other code starts says so."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(value: object) -> str:
    """Return a value as code; nothing of an empty one."""
    return f"`{value}`" if str(value) else ""


def comments(path: Path) -> dict[str, tuple[str, str]]:
    """Return each key of a YAML file of conf/ with its value as written and the comment that stands directly above it."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            above.append(line[2:].strip())
            continue
        if key := re.match(r"(\w+): (.+)$", line):
            found[key[1]] = (key[2], " ".join(above))
        above = []
    return found


def about(path: Path) -> str:
    """Return the comment at the top of a YAML file of conf/."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
    stop = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return " ".join(line[2:].strip() for line in lines[:stop])


def commands() -> str:
    """Return the docstring of every entry point, the commonest first."""
    modules = {path.stem: path for path in HARNESS.glob("*.py")}
    modules |= {path.parent.name: path for path in HARNESS.glob("*/__main__.py")}
    texts = {name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for name, path in modules.items()}
    entries = [name for name, text in sorted(texts.items()) if name in USAGE.findall(text)]
    entries.sort(key=lambda name: name != "run")
    return "\n\n".join(f"### `python -m harness.{name}`\n\n{texts[name]}" for name in entries)


def keys() -> str:
    """Return the keys of a run that belong to no group, and the groups."""
    path = conf_folder() / "config.yaml"
    groups = re.findall(r"^  - (\w+): (\S+) +# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    below = {"variant": "[named networks](#named-networks)", "experiment": "[experiments](#experiments)"}
    rows = [
        [code(key), code(default), below.get(key) or ", ".join(map(code, choices_of(key))), words]
        for key, default, words in groups
    ]
    hints = get_type_hints(RunConfig)
    rows += [
        [code(key), code(value), _values(key, value, hints.get(key, str)), words]
        for key, (value, words) in comments(path).items()
    ]
    return table(["key", "default", "values", "what it is"], rows)


def data() -> str:
    """Return the keys of `data`, for each data set with a file of its own."""
    parts = []
    for name in ("digits", "cifar10", "image_folder"):
        found = comments(conf_folder() / "data" / f"{name}.yaml")
        parts.append(f"**`data={name}`.** {found.pop('name')[1]}")
        rows = [[code(f"data.{key}"), code(value), words] for key, (value, words) in found.items()]
        parts.append(table(["key", "default", "what it is"], rows))
    parts.append(f"**`data=cifar100`.** {about(conf_folder() / 'data' / 'cifar100.yaml')}")
    return "\n\n".join(parts)


def schedules() -> str:
    """Return the keys of `schedule` with their defaults in every schedule."""
    folder = conf_folder() / "schedule"
    found = comments(folder / "cifar10.yaml")
    names = [name for name in choices_of("schedule") if name != "cifar100"]
    own = {name: {**found, **comments(folder / f"{name}.yaml")} for name in names}
    rows = [[code(f"schedule.{key}"), *(code(own[name][key][0]) for name in names), found[key][1]] for key in found]
    said = "\n".join(f"- `schedule={name}`: {about(folder / f'{name}.yaml')}" for name in choices_of("schedule"))
    return said + "\n\n" + table(["key", *(code(name) for name in names), "what it is"], rows)


def names() -> str:
    """Return the open choices, to which a plugin may add, each name with its sentence."""
    rows = [[code(f"{choice.key}={name}"), words] for choice in BUILT_IN for name, words in choice.built_in.items()]
    return table(["choice", "what it is"], rows)


def depths() -> str:
    """Return the depths that each family has with each kind of block."""
    rows = [[code(family), code(block.value), str(form)] for (family, block), form in DEPTHS.items()]
    return table(["family", "block", "depth"], rows)


def variants() -> str:
    """Return the named networks with their keys and source."""
    folder, rows = conf_folder() / "variant", []
    for name in choices_of("variant"):
        values: Mapping[Any, Any] = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml")) or {}  # type: ignore[assignment]
        if values:
            given = " ".join(f"{key}={value}" for key, value in values.items())
            rows.append([code(name), code(given), about(folder / f"{name}.yaml")])
    return table(["variant", "keys", "what it is"], rows)


def experiments() -> str:
    """Return every experiment with its claims, its question, and the sweep that it is."""
    rows = []
    for name, experiment in registry().items():
        loaded: Any = OmegaConf.load(conf_folder() / "experiment" / f"{name}.yaml")
        params = {key: re.sub(r"\s+", "", str(value)) for key, value in loaded.hydra.sweeper.params.items()}
        fixed = {f"schedule.{key}": value for key, value in loaded.get("schedule", {}).items()}
        sweep = " ".join(f"{key}={value}" for key, value in (fixed | params).items())
        claims = ", ".join(claim.id for claim in experiment.claims)
        rows.append([f"[`{name}`](../conf/experiment/{name}.yaml)", claims, experiment.question, code(sweep)])
    return table(["experiment", "claims", "question", "what it sets"], rows)


def claims() -> str:
    """Return every claim: sentence, statistic with its threshold, protocol, source, and the experiments that answer it."""
    asked_by: dict[str, list[str]] = {}
    for name, experiment in registry().items():
        for claim in experiment.claims:
            asked_by.setdefault(claim.id, []).append(code(name))
    ordered = sorted(all_claims(), key=lambda claim: (claim.id[0], int(claim.id[1:])))
    rows = [[one.id, one.sentence, one.rule, one.protocol.value, one.source, ", ".join(asked_by[one.id])] for one in ordered]
    return table(["claim", "statement", "statistic and threshold", "protocol", "source", "experiments"], rows)


def published() -> str:
    """Return every published number that stands beside ours, with its source."""
    rows = []
    for one in PUBLISHED:
        net = " ".join(f"{key}={one.net[key]}" for key in one.keys if key in one.net)
        rows.append([one.data, code(net), one.words, one.how, f"{one.source}, {one.place}"])
    return table(["data", "net", "error (%)", "how obtained", "source"], rows)


def files() -> str:
    """Return the files of a run and of a sweep."""
    run = _sentences("file", schema.RUN_FILES)
    sweep = _sentences("file", schema.SWEEP_FILES)
    places = {
        f"**A run,** `RESULTS/{paths.RUNS}/LABEL-HASH/`:": run,
        f"**A sweep,** `RESULTS/{paths.SWEEPS}/LABEL-HASH/`:": sweep,
    }
    return "\n\n".join(f"{place}\n\n{found}" for place, found in places.items())


def columns() -> str:
    """Return the columns of every table and the keys of every JSON file."""
    parts = {name: _sentences("column", found) for name, found in schema.COLUMNS.items()}
    parts[paths.RUNS_TABLE] = "Every key of a run, then:\n\n" + _sentences(
        "column", {**schema.RESULTS, **schema.OPTIONAL_RESULTS}
    )
    parts |= {name: _sentences("key", found) for name, found in schema.KEYS.items()}
    parts[paths.VERDICTS] = "A list `verdicts`; each has:\n\n" + _sentences("key", schema.VERDICT)
    return "\n\n".join(f"### `{name}`\n\n{part}" for name, part in parts.items())


def _sentences(what: str, found: Sentences) -> str:
    return table([what, "what it is"], [[code(name), words] for name, words in found.items()])


def _values(key: str, default: str, kind: Any) -> str:
    """Return the values that a key may have: names where they are a closed or an open list, else their kind."""
    for choice in BUILT_IN:
        if choice.key == key:
            return ", ".join(map(code, choice.built_in))
    kinds = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)
    words: list[str] = []
    for one in kinds:
        if isinstance(one, type) and issubclass(one, Enum):
            words += [code(member.value) for member in one]
        elif one is bool:
            words += [code("true"), code("false")]
        else:
            words += {int: ["a whole number"], float: ["a number"], str: ["text"]}.get(one, ["a list"])
    if str in kinds and len(kinds) > 1:  # one word beside numbers or names
        words[words.index("text")] = code(default) if default.isalpha() else code("auto")
    return ", ".join(words)


PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part
    for part in (commands, keys, data, schedules, names, depths, variants, experiments, claims, published, files, columns)
}
"""Every table that pages of docs/ may hold, by name."""
