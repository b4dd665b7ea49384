"""Import plugins, and identify their text."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from harness.config.registry import ChoiceError, shown


def load_plugin(module: str) -> None:
    given = f"plugins={shown(module)}"
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or module.endswith(".py"):
        raise ChoiceError(f"{given}: must be a module's name as in `import NAME`: a file mine.py on Python's path is mine")
    own = module.partition(".")[0] in {*sys.stdlib_module_names, "__main__", "harness", "experiments"}
    if own and not module.endswith(".plugin"):  # as harness.lab.plugin, the only one that this project has
        raise ChoiceError(f"{given}: is Python's own or this project's, and registers nothing new; name a module of yours")
    if module in sys.modules:
        return
    here = os.getcwd()  # noqa: PTH109  # Path.cwd() is the same call, and os.chdir has no Path of its own
    try:
        import_module(module)
    except ChoiceError as error:
        raise ChoiceError(f"{given}: {error}") from error
    except BaseException as error:  # whatever a user's module raises, SystemExit and KeyboardInterrupt included
        words = shown(error)
        raise ChoiceError(f"{given}: cannot be imported: {type(error).__name__}{': ' if words else ''}{words}") from error
    finally:
        os.chdir(here)  # or else the other paths of the command line would mean other places
    if not Path(getattr(sys.modules[module], "__file__", None) or "").is_file():
        raise ChoiceError(f"{given}: has no file of its own, so that its runs could not be told from those of another text")


def plugin_digest(module: str) -> str:
    spec = find_spec(module)
    source = spec.origin if spec else None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
