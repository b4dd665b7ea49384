"""The engine for Ray: each worker is a task, which runs `python -m harness.worker` on its node and ends with it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config.launcher import RayConfig
from harness.config.registry import LAUNCHER
from harness.config.run import RunConfig
from harness.launching.engine import Engine, LaunchError, close_input, worker_command
from harness.system.locks import Owner

STOP_SECONDS = 60.0
"""Seconds that a worker may take to save and end when its task is cancelled."""


@LAUNCHER.register("ray")
class Ray(Engine):
    """Tasks of a Ray cluster. They end with this process."""

    config: RayConfig

    def __init__(self, config: RayConfig, sweep: Path, configs: Sequence[RunConfig], quiet: bool) -> None:
        try:
            import ray
        except ImportError as error:
            raise LaunchError("launcher=ray: ray is not installed; pip install 'depth-harness[ray]'") from error
        self._ray, self._tasks = ray, list[Any]()
        address = None if config.address == "auto" else config.address
        try:
            ray.init(address, log_to_driver=not quiet, logging_level="ERROR", runtime_env={"working_dir": None})
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise LaunchError(f"launcher.address={config.address}: {str(error).splitlines()[0]}") from error
        super().__init__(config, sweep, configs, quiet)

    def room(self, configs: Sequence[RunConfig]) -> int:
        resources = self._ray.cluster_resources()
        places = [resources.get("CPU", 1) // self._cpus]
        if self.config.gpus:
            places.append(resources.get("GPU", 0) // self.config.gpus)
        return max(1, min(len(configs), *map(int, places)))

    @property
    def _cpus(self) -> int:
        return self.threads if isinstance(self.config.cpus, str) else self.config.cpus

    def start(self, count: int) -> None:
        task = self._ray.remote(num_cpus=self._cpus, num_gpus=self.config.gpus, max_retries=0)(_work)
        command = [*worker_command("--attached", *(["--quiet"] if self.quiet else [])), str(self.sweep)]
        self._tasks += [task.remote(command, str(Path.cwd())) for _ in range(count)]

    def live(self) -> int:
        if self._tasks:
            self._tasks = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)[1]
        return len(self._tasks)

    def owns(self, owner: Owner) -> bool:
        return True

    def stop(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def close(self, wait: bool) -> None:
        self._ray.shutdown()


def _work(command: Sequence[str], folder: str) -> int:
    """Run a worker until it ends; if the task is cancelled, close its input, so that it saves and ends."""
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=folder)
    try:
        while worker.poll() is None:
            time.sleep(0.1)
    finally:
        close_input(worker)
        try:
            worker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
    return worker.returncode
