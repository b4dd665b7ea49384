"""Tables for the pages of docs/, generated from conf/, docstrings of commands, registries, schemas, experiments and claims."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from experiments import all_claims, registry
from harness.analysis.published import PUBLISHED
from harness.config.conf import choices_of, conf_folder, header_comment, key_comments
from harness.config.execution import KEYS as EXECUTION_KEYS
from harness.config.execution import ExecutionConfig
from harness.config.families import BUILT_IN as FAMILIES
from harness.config.families import StagedRules
from harness.config.launcher import LAUNCHERS
from harness.config.registry import BUILT_IN
from harness.config.run import RunConfig
from harness.records import paths, schema
from harness.records.schema import Sentences

COMMANDS = (
    "run",
    "bench",
    "describe",
    "export",
    "import",
    "lab",
    "reference",
    "report",
    "search",
    "status",
    "verify",
    "worker",
)
"""The commands python -m harness.NAME, in the order of the reference."""
HARNESS = Path(__file__).resolve().parents[1]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(value: object) -> str:
    """Return a value as inline code, or nothing if it is empty."""
    return f"`{value}`" if str(value) else ""


def commands() -> str:
    """Return the docstring of every command."""
    sections = []
    for name in COMMANDS:
        module, package = HARNESS / f"{name}.py", HARNESS / name / "__main__.py"
        tree = ast.parse((module if module.is_file() else package).read_text(encoding="utf-8"))  # not imported
        sections.append(f"### `python -m harness.{name}`\n\n{ast.get_docstring(tree)}")
    return "\n\n".join(sections)


def keys() -> str:
    """Return the groups, and the keys outside groups."""
    path = conf_folder() / "config.yaml"
    groups = re.findall(r"^  - (\w+): (\S+) +# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    links = {"variant": "[named networks](#named-networks)", "experiment": "[experiments](#experiments)"}
    rows = [
        [code(key), code(default), links.get(key) or ", ".join(map(code, choices_of(key))), comment]
        for key, default, comment in groups
    ]
    hints, of_execution = get_type_hints(RunConfig), get_type_hints(ExecutionConfig)
    hints |= {key: of_execution[field] for key, field in EXECUTION_KEYS.items()}
    rows += [
        [code(key), code(default), _values(key, default, hints.get(key, str)), comment]
        for key, (default, comment) in key_comments(path).items()
    ]
    return table(["key", "default", "values", "meaning"], rows)


def data() -> str:
    """Return the keys of `data` for each data set."""
    paragraphs = []
    for name in ("digits", "cifar10", "image_folder"):
        keys = key_comments(conf_folder() / "data" / f"{name}.yaml")
        paragraphs.append(f"**`data={name}`.** {keys.pop('name')[1]}")
        rows = [[code(f"data.{key}"), code(default), comment] for key, (default, comment) in keys.items()]
        paragraphs.append(table(["key", "default", "meaning"], rows))
    paragraphs.append(f"**`data=cifar100`.** {header_comment(conf_folder() / 'data' / 'cifar100.yaml')}")
    return "\n\n".join(paragraphs)


def schedules() -> str:
    """Return the keys of `schedule` with their defaults in every schedule."""
    folder = conf_folder() / "schedule"
    keys = key_comments(folder / "cifar10.yaml")
    names = [name for name in choices_of("schedule") if name != "cifar100"]
    defaults = {name: keys | key_comments(folder / f"{name}.yaml") for name in names}
    rows = [[code(f"schedule.{key}"), *(code(defaults[name][key][0]) for name in names), keys[key][1]] for key in keys]
    items = "\n".join(f"- `schedule={name}`: {header_comment(folder / f'{name}.yaml')}" for name in choices_of("schedule"))
    return items + "\n\n" + table(["key", *(code(name) for name in names), "meaning"], rows)


def launchers() -> str:
    """Return the keys of `launcher` for each launcher."""
    paragraphs = []
    for name in LAUNCHERS:
        keys = key_comments(conf_folder() / "launcher" / f"{name}.yaml")
        paragraphs.append(f"**`launcher={name}`.** {keys.pop('name')[1]}")
        rows = [[code(f"launcher.{key}"), code(default), comment] for key, (default, comment) in keys.items()]
        paragraphs.append(table(["key", "default", "meaning"], rows))
    return "\n\n".join(paragraphs)


def names() -> str:
    """Return the names of the open choices, which plugins may extend."""
    rows = [[code(f"{choice.key}={name}"), sentence] for choice in BUILT_IN for name, sentence in choice.built_in.items()]
    return table(["choice", "meaning"], rows)


def depths() -> str:
    """Return the depths of each family, by kind of block."""
    depths = {family: rules.depths for family, rules in FAMILIES.items() if isinstance(rules, StagedRules)}
    rows = [[code(family), code(block.value), str(form)] for family, forms in depths.items() for block, form in forms.items()]
    return table(["family", "block", "depth"], rows)


def variants() -> str:
    """Return the named networks with their keys."""
    folder, rows = conf_folder() / "variant", []
    for name in choices_of("variant"):
        values = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml")) or {})
        if values:
            given = " ".join(f"{key}={value}" for key, value in values.items())
            rows.append([code(name), code(given), header_comment(folder / f"{name}.yaml")])
    return table(["variant", "keys", "meaning"], rows)


def experiments() -> str:
    """Return every experiment with its claims, question and sweep."""
    rows = []
    for name, experiment in registry().items():
        loaded: Any = OmegaConf.load(conf_folder() / "experiment" / f"{name}.yaml")
        params = {key: re.sub(r"\s+", "", str(value)) for key, value in loaded.hydra.sweeper.params.items()}
        fixed = {f"schedule.{key}": value for key, value in loaded.get("schedule", {}).items()}
        sweep = " ".join(f"{key}={value}" for key, value in (fixed | params).items())
        claims = ", ".join(claim.id for claim in experiment.claims)
        rows.append([f"[`{name}`](../conf/experiment/{name}.yaml)", claims, experiment.question, code(sweep)])
    return table(["experiment", "claims", "question", "settings"], rows)


def claims() -> str:
    """Return every claim: sentence, statistic with threshold, protocol, source, and the experiments that test it."""
    tested_by: dict[str, list[str]] = {}
    for name, experiment in registry().items():
        for claim in experiment.claims:
            tested_by.setdefault(claim.id, []).append(code(name))
    ordered = sorted(all_claims(), key=lambda claim: claim.sort_key)
    rows = [[c.id, c.sentence, c.rule, c.protocol.value, c.source, ", ".join(tested_by[c.id])] for c in ordered]
    return table(["claim", "statement", "statistic and threshold", "protocol", "source", "experiments"], rows)


def published() -> str:
    """Return every published number that reports compare with ours."""
    rows = []
    for number in PUBLISHED:
        net = " ".join(f"{key}={number.net[key]}" for key in number.keys if key in number.net)
        rows.append([number.data, code(net), number.words, number.how, f"{number.source}, {number.place}"])
    return table(["data", "net", "error (%)", "how obtained", "source"], rows)


def files() -> str:
    """Return the files of a run and of a sweep."""
    run, sweep = (_sentences("file", files) for files in (schema.RUN_FILES, schema.SWEEP_FILES))
    return (
        f"**A run,** `RESULTS/{paths.RUNS}/LABEL-HASH/`:\n\n{run}\n\n"
        f"**A sweep,** `RESULTS/{paths.SWEEPS}/LABEL-HASH/`:\n\n{sweep}"
    )


def columns() -> str:
    """Return the columns of every table and the keys of every JSON file."""
    tables = {name: _sentences("column", columns) for name, columns in schema.COLUMNS.items()}
    results = _sentences("column", {**schema.RESULTS, **schema.OPTIONAL_RESULTS})
    tables[paths.RUNS_TABLE] = f"Every key of a run, then:\n\n{results}"
    tables |= {name: _sentences("key", keys) for name, keys in schema.KEYS.items()}
    tables[paths.VERDICTS] = "A list `verdicts`. Each verdict has:\n\n" + _sentences("key", schema.VERDICT)
    return "\n\n".join(f"### `{name}`\n\n{content}" for name, content in tables.items())


def _sentences(kind: str, sentences: Sentences) -> str:
    return table([kind, "meaning"], [[code(name), sentence] for name, sentence in sentences.items()])


def _values(key: str, default: str, hint: Any) -> str:
    """Return the allowed values of a key: names, or kinds of values."""
    for choice in BUILT_IN:
        if choice.key == key:
            return ", ".join(map(code, choice.built_in))
    kinds = get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)
    known = {bool: [code("true"), code("false")], int: ["a whole number"], float: ["a number"], str: ["text"]}
    values: list[str] = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            values += [code(member.value) for member in kind]
        else:
            values += known.get(kind, ["keys with values" if get_origin(kind) is Mapping else "a list"])
    if str in kinds and len(kinds) > 1:  # text stands for a single name, besides numbers or other names
        values[values.index("text")] = code(default) if default.isalpha() else code("auto")
    return ", ".join(values)


TABLES: Mapping[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        commands,
        keys,
        launchers,
        data,
        schedules,
        names,
        depths,
        variants,
        experiments,
        claims,
        published,
        files,
        columns,
    )
}
"""The tables that pages of docs/ may contain, by name."""
