"""Take steps in a fresh process, to measure start-up, memory, and processes side by side.

    python -m harness.bench.process CELL ours|reference        (started by harness.bench; CELL is JSON)

After the first step, the process prints the times of its start. Then it reads numbers of steps from standard input. It takes
each number of steps, and prints the seconds and the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.launching.parent_watch import kill_after_input_ends

if TYPE_CHECKING:
    from harness.bench.baseline import Reference
    from harness.bench.workload import Ours

PATIENCE = 30.0
"""Seconds that a process may take to end."""


class Child:
    """A child process that takes steps of the harness (`ours`) or of the `reference`; a context that ends it.

    `start` has the seconds of `import`, `build` (data and net), `first_step`, and `total`, which is from the start of the process
    to the end of the first step. Methods raise ChildProcessError if the process has ended too early.
    """

    def __init__(self, cell: Mapping[str, Any], kind: str = "ours") -> None:
        self._cell, self._started = json.dumps(cell), time.perf_counter()
        command = [sys.executable, "-m", "harness.bench.process", self._cell, kind]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.start: dict[str, float] = {}

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._process.communicate(timeout=PATIENCE)  # the process and its children end when its input ends
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ready(self) -> None:
        """Wait for the first step."""
        self.start = self.answer()
        self.start["total"] = time.perf_counter() - self._started

    def ask(self, times: int) -> None:
        """Request a number of steps."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` reports the end of the process
            self._process.stdin.write(f"{times}\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """Wait for the requested steps; return their `seconds`, and the peak `memory` in MiB of all steps so far."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise ChildProcessError(f"the process of {self._cell} ended by {self._process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def take(self, times: int) -> dict[str, float]:
        """Request a number of steps, wait for them, and return the answer."""
        self.ask(times)
        return self.answer()


def main() -> None:
    """Take steps as standard input requests them."""
    kill_after_input_ends()
    text, kind = sys.argv[1:]
    times = [time.perf_counter()]
    from harness.bench.workload import Cell, Ours

    times.append(time.perf_counter())
    from harness.training.devices import deterministic

    cell = Cell(**json.loads(text))
    if kind == "ours":
        with deterministic(cell.config):
            _serve(Ours(cell), times)
    else:
        from harness.bench.baseline import Reference

        _serve(Reference(cell), times)


def _serve(steps: Ours | Reference, times: list[float]) -> None:
    """Take the first step, then the requested ones. `times` has the times before and after the import."""
    from harness.training import environment

    def peak() -> float:
        memory = environment.peak_memory(steps.device)
        return memory.get("gpu_mib", memory["process_mib"])

    steps.batches(1)
    environment.reset_peak_memory(steps.device)
    before = peak()
    times.append(time.perf_counter())
    steps.step(1)
    times.append(time.perf_counter())
    names = ("import", "build", "first_step")
    print(json.dumps({name: end - start for name, (start, end) in zip(names, pairwise(times), strict=True)}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        steps.step(int(line))
        print(json.dumps({"seconds": time.perf_counter() - started, "memory": peak() - before}), flush=True)


if __name__ == "__main__":
    main()
