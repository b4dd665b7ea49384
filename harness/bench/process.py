"""Processes of their own that take steps, for what one process cannot tell: start-up, memory, company, other settings.

    python -m harness.bench.process CELL ours|reference        (started by harness.bench; CELL is JSON)

It prints what its start took when the first step is done, then answers each number on its input by what so many steps took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from harness.launching.parent_watch import end_with_input

PATIENCE = 30.0
"""Seconds that a process may take to end."""


class Child:
    """Such a process, seen by the one that started it; raises ChildProcessError where it has ended too early.

    It takes the harness's own steps or those of the `reference`. `start` has the seconds of `import`, `build` (data and net),
    `first_step` and `total`, from the request to the end of the first step.
    """

    def __init__(self, cell: Mapping[str, Any], kind: str = "ours") -> None:
        self._cell, self._asked = cell, time.perf_counter()
        command = [sys.executable, "-m", "harness.bench.process", json.dumps(cell), kind]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.start: dict[str, float] = {}

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._process.communicate(timeout=PATIENCE)  # it ends with its input, its own children with it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ready(self) -> None:
        """Wait for the first step."""
        self.start = self.answer()
        self.start["total"] = time.perf_counter() - self._asked

    def ask(self, times: int) -> None:
        """Have it take so many steps."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{times}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will be missing

    def answer(self) -> dict[str, float]:
        """Wait for `seconds` of the steps, and how much memory, in MiB, all steps so far took beyond what was there before."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ChildProcessError(f"the process of {json.dumps(self._cell)} ended by {code}")
        found: dict[str, float] = json.loads(line)
        return found

    def take(self, times: int) -> dict[str, float]:
        """Have it take so many steps, and return its answer."""
        self.ask(times)
        return self.answer()


def main() -> int:
    """Take steps as the standard input asks for them."""
    end_with_input()
    text, kind = sys.argv[1:]
    moments = [time.perf_counter()]
    from harness.bench.workload import Cell, Ours

    moments.append(time.perf_counter())
    from harness.training.devices import exactly

    cell = Cell(**json.loads(text))
    if kind == "ours":
        with exactly(cell.config):
            _serve(Ours(cell), moments)
    else:
        from harness.bench.baseline import Reference

        _serve(Reference(cell), moments)
    return 0


def _serve(thing: Any, moments: list[float]) -> None:
    from harness.training import environment

    def peak() -> float:
        found = environment.peak_memory(thing.device)
        return found.get("gpu_mib", found["process_mib"])

    thing.batches(1)
    environment.reset_peak_memory(thing.device)
    before = peak()
    moments.append(time.perf_counter())
    thing.step(1)
    moments.append(time.perf_counter())
    names = ("import", "build", "first_step")
    print(json.dumps({name: moments[i + 1] - moments[i] for i, name in enumerate(names)}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        thing.step(int(line))
        print(json.dumps({"seconds": time.perf_counter() - started, "memory": peak() - before}), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
