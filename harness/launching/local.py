"""The engine for this machine: workers are child processes, each with the cores or the GPU that it needs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from harness.config.launcher import LauncherConfig
from harness.config.registry import LAUNCHER
from harness.config.run import RunConfig
from harness.launching import job
from harness.launching.engine import Engine, close_input, describe_exit
from harness.launching.parent_watch import GRACE
from harness.records import paths
from harness.records.run import Run
from harness.system import locks
from harness.system.cores import available_cores
from harness.system.owner import Owner, is_here

PATIENCE = GRACE + 4.0
"""Seconds after which a worker that outlives the end of its input is killed: its guard should have done so."""


@LAUNCHER.register("local")
class Local(Engine):
    """Child processes on this machine, each with the cores or the GPU that it needs. They end with this process."""

    def __init__(self, config: LauncherConfig, sweep: Path, configs: Sequence[RunConfig], quiet: bool) -> None:
        self._workers: dict[subprocess.Popen[bytes], int | None] = {}
        self._losses: dict[int, str] = {}
        self._last = ""
        self._numbers = {config.run_name(): config.execution.device_number for config in configs}
        numbers = {run.execution.device_number for run in configs if run.device == "cuda"}
        self._gpus = list(range(gpu_count())) if None in numbers else sorted(number for number in numbers if number is not None)
        super().__init__(config, sweep, configs, quiet)

    def room(self, configs: Sequence[RunConfig]) -> int:
        return len(self._gpus) or max(1, available_cores() // self.threads)

    def start(self, count: int) -> None:
        gpus = self._gpus_with_work()
        for _ in range(0 if self._gpus and not gpus else count):
            busy = [*self._workers.values()]
            gpu = min(gpus, key=busy.count, default=None)
            options = ["--attached", *(["--quiet"] if self.quiet else []), *([] if gpu is None else ["--gpu", str(gpu)])]
            environment = os.environ if gpu is None else {**os.environ, "CUDA_VISIBLE_DEVICES": visible_gpus()[gpu]}
            worker = subprocess.Popen(
                self.command(*options),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
            self._workers[worker] = gpu

    def _gpus_with_work(self) -> list[int]:
        """Return the GPUs for which a run waits that nobody trains."""
        results, waiting = self.sweep.parent.parent, set[int | None]()
        for name, number in self._numbers.items():
            if job.is_left(Run(paths.run_folder(results, name))) and not locks.is_held(paths.lock(results, name)):
                waiting.add(number)
        return [gpu for gpu in self._gpus if waiting & {gpu, None}]

    def live(self) -> int:
        for worker in [worker for worker in self._workers if worker.poll() is not None]:
            del self._workers[worker]
            self._last = self._losses[worker.pid] = describe_exit(worker.returncode)
            close_input(worker)
        return len(self._workers)

    def owns(self, owner: Owner) -> bool:
        return is_here(owner) and owner.process in [worker.pid for worker in self._workers]

    def why(self) -> str:
        return self._last or "the log above says why"

    def loss(self, owner: Owner) -> str:
        return self._losses.get(owner.process) or super().loss(owner)

    def finish(self) -> None:
        pass

    def stop(self) -> None:
        for worker in self._workers:
            worker.terminate()

    def close(self, wait: bool) -> None:
        for worker in self._workers:
            close_input(worker)  # it saves and ends, or is killed by its guard
        deadline = time.monotonic() + PATIENCE
        for worker in self._workers if wait else ():
            try:
                worker.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def gpu_count() -> int:
    """Return the number of GPUs that this process sees."""
    import torch

    return torch.cuda.device_count()


def visible_gpus() -> list[str]:
    """Return the name of each GPU that this process sees, as CUDA_VISIBLE_DEVICES has it."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named or [str(number) for number in range(gpu_count())]
