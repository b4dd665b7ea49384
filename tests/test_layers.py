"""The house's rule: data flow one way, so a module imports only from its own layer's list downwards."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BASE = {
    "harness.address_space",
    "harness.choices",
    "harness.checks",
    "harness.config",
    "harness.console",
    "harness.contents",
    "harness.extent",
    "harness.layout",
    "harness.locks",
    "harness.network",
    "harness.schema",
    "harness.stopping",
    "harness.streams",
}
RECORDS = {"harness.door", "harness.records"}
SHARED = RECORDS | {"harness.anatomy", "harness.evaluate"}
TOOLS = {"harness.schedule", "harness.devices", "harness.environment", "harness.checkpoint", "harness.rows", "harness.scaling"}
GLOBAL_STATE = "harness.global_state"
TRAINING = {"harness.training", "harness.stepping"}
ROOMS = {"data", "models", "probes"}
ANALYSIS = {
    f"harness.{name}"
    for name in ("asked", "tables", "moments", "plots", "stats", "verdicts", "growth", "theory", "published", "ranking")
}
LAUNCHING = {f"harness.{name}" for name in ("handover", "launch", "orphans", "trainer", "worker")}
PAGES = {
    f"harness.{name}"
    for name in ("report", "findings", "index", "pages", "svg", "embedded", "figures", "judged", "reproducibility")
}
COMMAND_LINE = {f"harness.{name}" for name in ("arguments", "expansion", "sweep")}
READING = PAGES | {f"harness.{name}" for name in ("progress", "status", "verify")}
ENTRIES = (
    LAUNCHING
    | READING
    | {f"harness.{name}" for name in ("run", "arguments", "expansion", "sweep", "describe", "reference", "catalogue", "lab")}
)
BENCH = "harness.bench"
TORCH_FREE = (
    BASE
    | ANALYSIS
    | RECORDS
    | {"experiments", "harness.schedule"}
    | {f"harness.data.{name}" for name in ("sources", "cifar", "folders", "image_folder", "memory", "pixels", "places")}
)


def allowed(module: str) -> set[str]:
    """Return what of this project `module` may import (prefixes)."""
    module = "harness.lab" if module.startswith("harness.lab.") else module
    if module in BASE:
        return BASE
    if module == "harness.gang":
        return BASE | RECORDS | {"harness.devices"}
    if module in SHARED:
        return BASE | {"harness.door"}
    if module == GLOBAL_STATE:
        return set()
    if module in TOOLS:
        return BASE | RECORDS | ({GLOBAL_STATE} if module == "harness.devices" else set())
    if module == "harness":
        return BASE | {"harness.carry_out"}
    room = module.partition(".")[2].split(".")[0]
    if room in ROOMS:
        return BASE | SHARED | {f"harness.{room}"}
    if module in TRAINING:
        return TRAINING | BASE | SHARED | TOOLS | {f"harness.{room}" for room in ROOMS}
    if module == "harness.carry_out":
        return BASE | RECORDS | {"harness.training", "harness.data", "harness.gang"} | TOOLS
    if any(module == part or module.startswith(part + ".") for part in ANALYSIS):
        return BASE | RECORDS | ANALYSIS
    if module.startswith("experiments"):
        return BASE | RECORDS | {"experiments"} | ANALYSIS
    if module == BENCH or module.startswith(f"{BENCH}."):
        return {"harness"}
    assert module in ENTRIES, f"{module} is in no layer: give it one in tests/test_layers.py"
    return {"harness", "experiments"}


def imports(source: str) -> set[str]:
    """Return every module that a source text imports, at its top or inside."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def faults(module: str, source: str) -> list[str]:
    """Return the imports of a module that its layer forbids."""
    ours = {name for name in imports(source) if name.split(".")[0] in ("harness", "experiments")}
    right = allowed(module)
    wrong = [name for name in ours if not any(name == ok or name.startswith(ok + ".") for ok in right | {module})]
    foreign = {name.split(".")[0] for name in imports(source)}
    if any(module == part or module.startswith(part + ".") for part in TORCH_FREE):
        wrong += [name for name in ("torch", "hydra", "safetensors") if name in foreign]
    if module not in ENTRIES and not module.startswith("harness.lab."):
        wrong += [name for name in ("hydra", "omegaconf") if name in foreign]
    return wrong


def modules():
    for folder in ("harness", "experiments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_down_only(module, path):
    assert faults(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("harness.config", "from harness.records import Run"),
        ("harness.config", "import harness.training"),
        ("harness.door", "from harness.records import Run"),
        ("harness.records", "from harness.training import train"),
        ("harness.tables", "import torch"),
        ("harness.stats", "import torch"),
        ("harness.theory", "import torch"),
        ("harness.verdicts", "from harness.training import train"),
        ("harness.plots.errors", "from torch import Tensor"),
        ("harness.plots.errors", "from harness.models.build import build"),
        ("harness.models.build", "from harness.data.batches import Batch"),
        ("harness.training", "from harness.report import conclude"),
        ("harness.training", "import hydra"),
        ("experiments.degradation", "from harness.training import train"),
        ("harness.probes.builtin", "def f():\n    from harness.models.build import build"),
    ],
)
def test_the_rule_can_fail(module, line):
    assert faults(module, line) != []


def test_reading_and_drawing_tables_loads_no_torch():
    names = ", ".join(["harness", "experiments.judging", "experiments.degradation", *sorted(ANALYSIS)])
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_layout_and_choices_need_the_standard_library_alone():
    for module, path in modules():
        if module in BASE:
            top = {name.split(".")[0] for name in imports(path.read_text())}
            assert not top & {"torch", "numpy", "pandas", "yaml", "omegaconf"}, module
