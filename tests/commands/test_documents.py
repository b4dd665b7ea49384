"""The pages can be followed: links resolve, commands are accepted, examples run, and errors have the quoted messages."""

import importlib
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from experiments import all_claims, registry
from harness import describe
from harness.analysis.verdicts import Verdict
from harness.claims.judging import judge_sweep
from harness.config.registry import BUILT_IN, PLUGIN_KEYS, ChoiceError
from harness.planning.sweep import plan
from harness.records import paths
from support.fabricate import digits, nets, sweep
from support.helpers import KEYS, configs_of
from support.pages import PAGES, ROOT, anchors, code_lines, commands, examples, links

README, GUIDE, DESIGN = (ROOT / name for name in ("README.md", "docs/guide.md", "docs/design.md"))
FINDINGS = sorted((ROOT / "results" / "findings").glob("*/README.md"))


def test_anchors_are_those_of_github():
    text = "# What's `new`\n## A (short) list, of 2\n## A (short) list, of 2\n```python\n# no heading\n```\n"
    assert anchors(text) == ["whats-new", "a-short-list-of-2", "a-short-list-of-2-1"]


@pytest.mark.parametrize("page", [*PAGES, *FINDINGS], ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_link_resolves(page):
    wrong = []
    for target in links(page.read_text()):
        file, _, anchor = target.partition("#")
        if file.startswith("https:"):
            continue
        other = (page.parent / file).resolve() if file else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text())):
            wrong.append(target)
    assert wrong == []
    assert page.name == "CHANGELOG.md" or page in FINDINGS or len(links(page.read_text())) > 3


@pytest.mark.parametrize("page", [*PAGES, *FINDINGS], ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_file_that_a_page_names_exists(page):
    """Names in code of a folder of this project, with an ending or a slash at the end; capitals stand for any name."""
    words = re.findall(r"`([^`\s]+)`", page.read_text())
    named = [word for word in words if re.match(r"(benchmarks|conf|docs|experiments|harness|tests)/", word)]
    assert page.name == "CHANGELOG.md" or [word for word in named if "NAME" not in word and not (ROOT / word).exists()] == []


def test_every_page_is_linked_from_the_readme():
    targets = {(ROOT / target.partition("#")[0]).resolve() for target in links(README.read_text())}
    assert set(PAGES) - {README} <= targets
    assert {ROOT / "LICENSE", ROOT / "CITATION.cff"} <= targets


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Write the pages' examples into the current folder, importable; undo their registrations afterwards."""
    files = examples(DESIGN.read_text()) | {
        "half.py": next(code for code in examples(GUIDE.read_text()).values() if "half" in code)
    }
    files = {name: code for name, code in files.items() if "/" not in name}
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    before, keys = [set(choice.sentences) for choice in BUILT_IN], set(PLUGIN_KEYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in files:
        sys.modules.pop(name.removesuffix(".py"), None)
    for choice, known in zip(BUILT_IN, before, strict=True):
        for name in set(choice.sentences) - known:
            del choice.sentences[name], choice._implementations[name]
    for key in set(PLUGIN_KEYS) - keys:
        del PLUGIN_KEYS[key]


def test_every_run_command_of_a_page_can_be_composed(plugins):
    """Except for the data, which readers provide."""
    typed = commands("harness.run")
    assert len(typed) > 15
    for page, arguments in typed:
        if "--help" in arguments:
            continue
        overrides = [word for word in arguments if word != "-m"]
        assert all("=" in word for word in overrides), (page, arguments)
        experiments = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
        if experiments:
            assert "-m" in arguments
            assert experiments[0] in registry()
        configs = configs_of(overrides)
        assert configs
        assert len(configs) == 1 or "-m" in arguments, (page, arguments)


@pytest.mark.slow
def test_every_describe_command_of_a_page_works(capsys):
    typed = [arguments for _, arguments in commands("harness.describe")]
    assert len({tuple(arguments) for arguments in typed}) >= 3
    for arguments in typed:
        assert describe.main(arguments) == 0
    assert "0.64" in capsys.readouterr().out  # share of the parameters of bottleneck blocks, quoted in the guide


def test_other_commands_name_existing_targets_and_options():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for line in code_lines(page.read_text()):
            words = line.split()
            if words and words[0] == "make":
                assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), line
            if "-m" in words and words[words.index("-m") + 1].startswith("harness."):
                module = words[words.index("-m") + 1]
                entry = importlib.import_module(module)
                text = (importlib.import_module(f"{module}.__main__") if hasattr(entry, "__path__") else entry).__doc__
                assert f"    python -m {module}" in text
                assert all(word in text or word in ("-m", "--help") for word in words if word.startswith("-")), line
        for module in re.findall(r"python\s-m\s(benchmarks[\w.]+)", page.read_text()):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_the_table_of_experiments_in_the_readme_matches_the_code():
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z]\d.*?) \| .+ \|$", README.read_text(), flags=re.MULTILINE)
    listed = {}
    for name, claims in rows:
        spans = re.findall(r"([A-Z])(\d+)(?: to [A-Z](\d+))?", claims)
        listed[name] = {f"{kind}{number}" for kind, first, last in spans for number in range(int(first), int(last or first) + 1)}
    assert listed == {name: {claim.id for claim in experiment.claims} for name, experiment in registry().items()}
    assert set().union(*listed.values()) == {claim.id for claim in all_claims()}


def run_folders(folder, modules, *keys):
    """Run a sweep of plugins in `folder` and return the folders of its runs."""
    command = [sys.executable, "-m", "harness.run", "-m", f"plugins=[{','.join(modules)}]", *keys, "launcher=inline"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list((folder / "results" / "runs").iterdir())


def test_examples_of_additions_run_in_one_sweep(plugins):
    """Every plugin of the pages except the family of networks, in two tiny runs."""
    modules = ["half", "group_norm", "small_init", "stripes", "signs", "nesterov", "halving", "diary", "loss_figure", "polite"]
    keys = ["norm=batch,group", "init=small", "shortcut=half", "data.name=stripes", "probes=[layers,signs]", "depth=8"]
    keys += ["optimizer=nesterov", "plugin.nesterov_momentum=0.8", "lr_schedule=halving", "observers=[log,diary]"]
    keys += ["launcher.name=polite"]
    runs = run_folders(plugins, modules, *keys, *KEYS)
    assert len(runs) == 2
    assert all((run / name).is_file() for run in runs for name in (paths.probe_table("signs"), "diary.txt"))
    assert all(run.name.startswith("stripes-half-8-seed0-") for run in runs)
    (sweep,) = (plugins / "results" / "sweeps").iterdir()
    assert (sweep / paths.FIGURES / "loss.png").is_file()


def test_the_example_of_a_family_is_trained(plugins):
    (run,) = run_folders(plugins, ["perceptron"], "family=perceptron", "depth=4", *KEYS)
    assert json.loads((run / paths.STATUS).read_text())["parameters"] == (64 + 1) * 4 + 2 * (4 + 1) * 4 + (4 + 1) * 10


@pytest.mark.parametrize(("deep", "verdict"), [([9, 9.1, 9.2], Verdict.REPRODUCED), ([5, 5.1, 5.2], Verdict.CONTRADICTED)])
def test_the_example_of_an_experiment_judges(deep, verdict, tmp_path):
    """Means 5.1 and 9.1, or equal ones, with a tenth of a point between seeds: above 1 point, or below."""
    namespace = {}
    exec(examples(DESIGN.read_text())["experiments/rising_error.py"], namespace)
    tables = sweep(tmp_path, nets(tmp_path, digits, {(20, "none"): [5, 5.1, 5.2], (56, "none"): deep}))
    (outcome,) = judge_sweep(tables, namespace["EXPERIMENT"].claims)
    assert outcome.verdict is verdict


def error_message(overrides, multirun):
    """Return the message with which a command line is refused, empty if it is accepted."""
    try:
        plan(overrides, multirun, ["command"])
    except ChoiceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["depth=21"], "depth=21: this family"),
        (["shortcut=none", "gate_bias=-3"], "gate_bias=-3: is for"),
        (["depth=20,56"], "several values"),
        (["data=cifar10", "data.root=."], "data.root="),
        (["schedule.batch_size=2000"], "schedule.batch_size="),
        (["results=file/below"], "results="),
    ],
)
def test_common_errors_have_the_messages_of_the_guide(overrides, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    table = GUIDE.read_text().split("## Common errors")[1]
    (row,) = [row for row in re.findall(r"^\| `(.+?)` \|", table, flags=re.MULTILINE) if row.startswith(words)]
    pattern = "*" + re.sub(r"\.\.\.", "*", row) + "*"
    assert fnmatchcase(error_message(overrides, False), pattern)
