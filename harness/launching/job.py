"""A run that is to be trained, as its folder describes it to whatever process takes it: config.json and execution.json.

execution.json exists exactly as long as the run has not ended, so the folders say what is left to do. It holds where and how the
run is computed, the command, the text of its plugins, and where earlier processes of the run were lost.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.config.execution import ExecutionConfig
from harness.config.flat import plain
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, write_status

log = logging.getLogger("harness")

LOSSES = 3
"""Processes that a run may lose without progress between them; then it is given up."""


@dataclass(frozen=True)
class Job:
    """A run that is to be trained."""

    run: Run
    config: RunConfig
    command: str


def is_left(run: Run) -> bool:
    """Return whether a run has been launched and has not ended."""
    return (run.folder / paths.EXECUTION).exists()


def write(run: Run, config: RunConfig, command: str) -> None:
    """Write execution.json: the run is to be trained. The caller holds the run's lock."""
    root = config.execution.data_root
    where = {"data_root": None if root is None else str(Path(root).expanduser().resolve())}
    texts = {module: text for module in config.plugins if (text := _source(module)) is not None}
    content = {"execution": plain(config.execution) | where, "command": command, "plugins": texts, "lost": []}
    writer.write_json(run.folder / paths.EXECUTION, content)


def read(run: Run) -> Job:
    """Return the job of a run's folder.

    Raises:
        RecordError: if the folder's files cannot be read.
        ChoiceError: if the run cannot be trained here, for example because its plugin has another text.
    """
    record = reader.read_json(run.folder / paths.EXECUTION)
    try:
        for module, text in record["plugins"].items():
            if _source(module) is None:
                _import_from(module, text)
        config = RunConfig.from_mapping(run.config)  # imports the plugins, which may register observers
        command, execution = str(record["command"]), _execution(record["execution"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{run.folder / paths.EXECUTION}: is not of this version: {error!r}") from error
    config = replace(config, execution=execution)
    if config.run_name() != run.name:
        raise ChoiceError(f"{run.name}: its choices are those of {config.run_name()} here; another version, or other plugins")
    return Job(run, config, command)


def end(run: Run) -> None:
    """Remove execution.json: the run has ended."""
    (run.folder / paths.EXECUTION).unlink(missing_ok=True)


def record_loss(run: Run, reason: str) -> None:
    """Record that a process that trained the run is gone; give the run up after LOSSES without progress between them.

    The caller holds the run's lock.
    """
    try:
        record = reader.read_json(run.folder / paths.EXECUTION)
        lost, execution = [*record["lost"], _saved(run)], dict(record["execution"])
    except (RecordError, KeyError, TypeError, ValueError) as error:
        log.error("%s: %s", run.name, error)
        lost, record, execution = [_saved(run)] * LOSSES, {}, {}
    if len(set(lost[-LOSSES:])) == 1 and len(lost) >= LOSSES:
        write_state(run, states.KILLED, error=f"{reason}; so it was {LOSSES} times without progress")
        log.warning("%s: %s; so it was %d times without progress: given up", run.name, reason, LOSSES)
        end(run)
        return
    execution["runs_per_process"] = 1  # of several runs in one process nobody knows which was to blame
    writer.write_json(run.folder / paths.EXECUTION, record | {"execution": execution, "lost": lost})
    write_state(run, states.INTERRUPTED)
    log.warning("%s: %s; it is launched again", run.name, reason)


def _saved(run: Run) -> int:
    """Return when the run's checkpoint was written, in milliseconds; 0 without one."""
    with suppress(OSError):
        return (run.folder / paths.CHECKPOINT).stat().st_mtime_ns // 1_000_000
    return 0


def write_state(run: Run, state: str, **facts: Any) -> None:
    """Write the state of a run whose process is gone, and these facts; the rest of its status is kept."""
    status: dict[str, Any] = {}
    with suppress(RecordError):
        status = {key: value for key, value in run.status.items() if key != "state"}
    write_status(run, state, **(status | facts))


def was_lost(run: Run) -> bool:
    """Return whether the run's status says that it is running; for a caller that holds the run's lock, its process is gone."""
    with suppress(RecordError):
        return run.state == states.RUNNING
    return False


def _execution(values: Mapping[str, Any]) -> ExecutionConfig:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return ExecutionConfig(**fields)


def _source(module: str) -> str | None:
    """Return the text of a module that is a single file; None if it cannot be found here, or is a package."""
    with suppress(ImportError, ValueError, OSError):
        spec = find_spec(module)
        if spec and spec.origin and not spec.submodule_search_locations:
            return Path(spec.origin).read_bytes().decode()
    return None


def _import_from(module: str, text: str) -> None:
    """Make a module importable whose text came with the run."""
    path = _plugin_folder().joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    invalidate_caches()


@cache
def _plugin_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="harness-plugins-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sys.path.append(folder)
    return Path(folder)
