"""The engine for Ray: each worker is a task, which runs `python -m harness.worker` on its node and ends with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.config.launcher import RayConfig
from harness.config.registry import LAUNCHER
from harness.config.run import RunConfig
from harness.launching.engine import Engine, LaunchError, close_input, describe_exit
from harness.system.owner import Owner

CONNECT_SECONDS = 10.0
"""Seconds that the cluster's address may take to answer."""
STOP_SECONDS = 60.0
"""Seconds that a worker may take to save and end when its task is cancelled."""


@LAUNCHER.register("ray")
class Ray(Engine):
    """Tasks of a Ray cluster. They end with this process."""

    config: RayConfig

    def __init__(self, config: RayConfig, sweep: Path, configs: Sequence[RunConfig], quiet: bool) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise LaunchError("launcher=ray: ray is not installed; python -m pip install -e '.[ray]'") from error
        self._ray = ray
        self._tasks, self._ended = dict[Any, str](), dict[str, str]()
        handler = signal.getsignal(signal.SIGTERM)
        address = None if config.address == "auto" else config.address
        try:
            if address:  # Ray itself would try for minutes
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            ray.init(address, log_to_driver=not quiet, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise LaunchError(f"launcher.address={config.address}: {str(error).splitlines()[0]}") from error
        finally:
            signal.signal(signal.SIGTERM, handler)  # Ray has installed its own
        super().__init__(config, sweep, configs, quiet)
        self._places()

    def room(self, configs: Sequence[RunConfig]) -> int:
        return min(len(configs), self._places())

    def _places(self) -> int:
        """Return how many workers the cluster's nodes have room for. Raises LaunchError if none has."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        needed = {"CPU": self._cpus, "GPU": self.config.gpus}
        places = sum(min(int(node.get(kind, 0) // number) for kind, number in needed.items() if number) for node in nodes)
        if not places:
            raise LaunchError(f"launcher=ray: no node has {self._cpus} CPU core(s) and {self.config.gpus} GPU(s) for a worker")
        return places

    @property
    def _cpus(self) -> int:
        return self.threads if isinstance(self.config.cpus, str) else self.config.cpus

    def start(self, count: int) -> None:
        task = self._ray.remote(num_cpus=self._cpus, num_gpus=self.config.gpus, max_retries=0)(work)
        command = self.command("--attached", *(["--quiet"] if self.quiet else []))
        for job in (f"ray-{uuid4().hex[:12]}" for _ in range(count)):
            self._tasks[task.remote(command, str(Path.cwd()), job)] = job

    def live(self) -> int:
        ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0) if self._tasks else ([], [])
        for task in ended:
            try:
                how = describe_exit(self._ray.get(task))
            except self._ray.exceptions.RayError as error:
                how = f"its Ray task was lost ({type(error).__name__})"
            self._ended[self._tasks.pop(task)] = how
        return len(self._tasks)

    def owns(self, owner: Owner) -> bool:
        return owner.job in self._tasks.values()

    def loss(self, owner: Owner) -> str:
        return self._ended.get(owner.job) or super().loss(owner)

    def why(self) -> str:
        return next(reversed(self._ended.values()), "the log above says why")

    def finish(self) -> None:
        self.stop()

    def stop(self) -> None:
        for task in self._tasks:
            self._ray.cancel(task)

    def close(self, wait: bool) -> None:
        self._ray.shutdown()


def work(command: Sequence[str], folder: str, job: str) -> int:
    """Run a worker, and return its exit code. A task that is cancelled lets its worker save and end.

    Args:
        command: its command line; the Python is that of the node.
        folder: where it runs, if the node has such a folder.
        job: the name under which the worker holds its locks.
    """
    environment = {**os.environ, "HARNESS_JOB": job}
    command, place = [sys.executable, *command[1:]], folder if Path(folder).is_dir() else None
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=place, env=environment)
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
