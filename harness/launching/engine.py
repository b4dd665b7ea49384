"""What every engine does: start workers somewhere, know which of them live, ask them to stop. The registry is `LAUNCHER`.

An engine hands out no runs, since workers take them (`harness.launching.worker`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.config.launcher import LauncherConfig
from harness.config.run import RunConfig
from harness.launching.worker import RUNS_PER_GPU_PROCESS
from harness.system.cores import threads_here
from harness.system.owner import Owner


class LaunchError(RuntimeError):
    """Workers cannot be started; the message says why in a sentence."""


class Engine(ABC):
    """Workers of one sweep.

    Args:
        config: the keys of the launcher.
        sweep: the sweep's folder.
        configs: the runs that are to be trained.
        quiet: whether workers print nothing, since a table shows the progress.
    """

    def __init__(self, config: LauncherConfig, sweep: Path, configs: Sequence[RunConfig], quiet: bool) -> None:
        self.config, self.sweep, self.quiet = config, sweep, quiet
        self.threads = max((threads_here(config.threads) for config in configs), default=1)
        self.most = config.workers if isinstance(config.workers, int) else self.room(configs)
        """Workers that run at a time."""
        self.together = max(1, min(RUNS_PER_GPU_PROCESS, len(configs) // self.most))
        """Runs that share a GPU's worker if they do not say: no more than leave something to do for every other worker."""

    @abstractmethod
    def room(self, configs: Sequence[RunConfig]) -> int:
        """Return the number of workers that run at a time if the launcher's config does not say."""

    def command(self, *options: str) -> list[str]:
        """Return the command line of a worker."""
        return [sys.executable, "-m", "harness.worker", f"--together={self.together}", *options, str(self.sweep)]

    @abstractmethod
    def start(self, count: int) -> None:
        """Start that many more workers. Raises LaunchError if that is refused."""

    @abstractmethod
    def live(self) -> int:
        """Return the number of workers that have not ended, those that wait for a place included."""

    @abstractmethod
    def owns(self, owner: Owner) -> bool:
        """Return whether the owner of a run's lock is a worker of this engine."""

    @abstractmethod
    def why(self) -> str:
        """Return where to look, or the reason, if workers end without training a run."""

    def loss(self, owner: Owner) -> str:
        """Return how the process that owned a run's lock was lost."""
        return "its process was lost"

    def leave(self, runs: int) -> str:
        """Let workers train that many runs and report without this process; return a sentence about them."""
        raise NotImplementedError

    @abstractmethod
    def finish(self) -> None:
        """Give up the places of workers that have not begun: no run is left for them."""

    @abstractmethod
    def stop(self) -> None:
        """Ask every worker to save its runs and to end."""

    @abstractmethod
    def close(self, wait: bool) -> None:
        """Free what the engine holds; `wait` for its workers, which have ended unless the command failed."""


def close_input(worker: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a worker, which tells it that its parent is gone."""
    if worker.stdin:
        with suppress(BrokenPipeError):
            worker.stdin.close()


def describe_exit(code: int) -> str:
    """Return how a process with this exit code ended."""
    if code >= 0:
        return f"its process ended by exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"its process was ended by {name}" + ("; perhaps memory ran out" if code == -signal.SIGKILL else "")
