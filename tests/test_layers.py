"""The rule of the tree: every folder is a layer, imports go one way, and every module directly in harness/ is a command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    {"config"},
    {"system"},
    {"records"},
    {"data", "models", "tracking"},
    {"probes"},
    {"training", "analysis"},
    {"plots"},
    {"claims"},
    {"experiments"},
    {"reporting"},
    {"planning", "importing"},
    {"launching"},
    {"commands", "bench", "lab"},
)
"""Folders, lowest first; those of one line do not know each other. The commands are the modules directly in harness/."""
STANDARD_LIBRARY_ALONE = {"config", "system"}
WITHOUT_TORCH = STANDARD_LIBRARY_ALONE | {
    "records",
    "tracking",
    "analysis",
    "plots",
    "claims",
    "experiments",
    "reporting",
    "importing",
}
WITH_TORCH = {"models", "probes", "training"}
WITH_HYDRA = {"planning", "launching", "commands", "bench", "lab"}
HEAVY = {"torch", "torchvision", "safetensors", "numpy", "pandas", "matplotlib", "scipy", "omegaconf", "hydra", "yaml"}


def layer(module):
    """Return the folder that a module of this project lies in."""
    package, _, rest = module.partition(".")
    if package == "experiments":
        return package
    folder = rest.partition(".")[0]
    return folder if folder and (ROOT / "harness" / folder).is_dir() else "commands"


def floor(name):
    return next(number for number, names in enumerate(LAYERS) if name in names)


def imports(source):
    """Yield every module that a source text imports, at its top or inside."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(module, source):
    """Return the imports of a module that its layer forbids; `harness` itself is the public API, which commands may use."""
    own, found = layer(module), list(imports(source))
    ours = [name for name in found if name.partition(".")[0] in ("harness", "experiments")]
    wrong = [name for name in ours if layer(name) != own and floor(layer(name)) >= floor(own)]
    heavy = {name.partition(".")[0] for name in found} & HEAVY
    if own in STANDARD_LIBRARY_ALONE:
        wrong += heavy
    if own in WITHOUT_TORCH:
        wrong += heavy & {"torch", "torchvision", "safetensors"}
        wrong += [name for name in ours if layer(name) in WITH_TORCH]
    if own not in WITH_HYDRA:
        wrong += heavy & {"hydra"}
    return wrong


def modules():
    for path in sorted(path for folder in ("harness", "experiments") for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_one_way(module, path):
    assert faults(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("harness.config.run", "from harness.records.run import Run"),
        ("harness.config.run", "import harness.training.loop"),
        ("harness.config.run", "import numpy"),
        ("harness.system.locks", "from harness.records import paths"),
        ("harness.records.run", "from harness.training.train import train"),
        ("harness.models.build", "from harness.data.batches import Batch"),
        ("harness.probes.layers", "def f():\n    from harness.training import loop"),
        ("harness.analysis.tables", "import torch"),
        ("harness.analysis.tables", "from harness import plots"),
        ("harness.plots.errors", "from harness.training import recorder"),
        ("harness.claims.claim", "from experiments import registry"),
        ("harness.training.loop", "from harness.reporting.build import conclude"),
        ("harness.training.loop", "import hydra"),
        ("harness.reporting.build", "from harness.launching import sweep"),
        ("harness.planning.sweep", "from harness import report"),
        ("harness.lab.build", "from harness.bench import timing"),
        ("experiments.degradation", "from harness.training.train import train"),
    ],
)
def test_the_rule_can_fail(module, line):
    assert faults(module, line) != []


def test_every_folder_is_a_layer():
    folders = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}
    assert folders | {"commands", "experiments"} == set().union(*LAYERS)


def test_every_module_directly_in_the_package_is_a_command():
    for path in (ROOT / "harness").glob("*.py"):
        assert path.stem == "__init__" or f'console.run("harness.{path.stem}", main)' in path.read_text(), path


def test_reading_and_drawing_tables_loads_no_torch():
    names = [module for module, _ in modules() if layer(module) in WITHOUT_TORCH]
    code = f"import sys, harness, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
