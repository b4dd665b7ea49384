"""Import the modules that `plugins` names, and hash their text for the identity of runs."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from harness.config.registry import ChoiceError, shown

MOVED: Mapping[str, str] = {
    "harness.choices": "harness.config.registry",
    "harness.config.DataConfig": "harness.config.data.DataConfig",
    "harness.config.RunConfig": "harness.config.run.RunConfig",
    "harness.config.ScheduleConfig": "harness.config.schedule.ScheduleConfig",
    "harness.network": "harness.config.network",
    "harness.streams": "harness.config.seeds",
    "harness.data.sources": "harness.data.datasets",
    "harness.evaluate": "harness.models.evaluation",
    "harness.anatomy": "harness.models.introspection",
    "harness.probes.probe": "harness.probes.base",
    "harness.probes.base.Row": "harness.probes.base.ProbeRow",
    "harness.data.batches.Part": "harness.data.batches.Subset",
    "harness.records.Run": "harness.records.run.Run",
    "harness.tables": "harness.analysis.tables",
    "harness.stats": "harness.analysis.stats",
    "harness.verdicts": "harness.analysis.verdicts",
    "harness.published": "harness.analysis.published",
    "experiments.declaration": "harness.claims.claim",
}
"""Present names of what plugins import under the names of earlier versions."""


def load_plugin(module: str) -> None:
    """Import a plugin. Raises ChoiceError if it cannot be imported, or is not a module of the user's."""
    given = f"plugins={shown(module)}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or module.endswith(".py"):
        raise ChoiceError(f"{given}: must be a module's name as in `import NAME`: a file mine.py on Python's path is mine")
    foreign = module.partition(".")[0] in {*sys.stdlib_module_names, "__main__", "harness", "experiments"}
    if foreign and not module.endswith(".plugin"):  # this project's own plugins are modules named plugin
        raise ChoiceError(f"{given}: is Python's own or this project's, and registers nothing new; name a module of yours")
    if module in sys.modules:
        return
    here = os.getcwd()  # noqa: PTH109  # beside os.chdir, which undoes a change of it
    try:
        import_module(module)
    except ChoiceError as error:
        raise ChoiceError(f"{given}: {error}") from error
    except BaseException as error:  # whatever a user's module raises, SystemExit and KeyboardInterrupt included
        message = ": ".join(filter(None, (type(error).__name__, shown(error))))
        hint = _moved(error) if isinstance(error, ImportError) else ""
        raise ChoiceError(f"{given}: cannot be imported: {message}{hint}") from error
    finally:
        os.chdir(here)  # relative paths of the command line keep their meaning
    if not Path(getattr(sys.modules[module], "__file__", None) or "").is_file():
        raise ChoiceError(f"{given}: has no source file, so that its runs could not be told from those of another text")


def _moved(error: ImportError) -> str:
    """Return a hint at the new place of the name that could not be imported; empty if it was not moved."""
    name = re.search(r"cannot import name '(\w+)'", str(error))
    path = f"{error.name}.{name[1]}" if name else str(error.name)
    return f"; {path} is now {MOVED[path]}" if path in MOVED else ""


def plugin_digest(module: str) -> str:
    """Return the SHA-256 of a plugin's source file, empty if it has none."""
    spec = find_spec(module)
    source = spec.origin if spec else None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
