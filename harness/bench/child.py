"""Processes of their own that take the harness's steps, for what one process cannot tell: start-up, memory, company.

    python -m harness.bench.child CELL        (started by harness.bench; CELL is JSON)

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


class Child:
    """Such a process, seen by the one that started it; raises ChildProcessError where it has ended too early.

    `start` has the seconds of `import`, `build` (data and net), `first_step` and `total`, from the request to the first step.
    """

    def __init__(self, cell: Mapping[str, Any]) -> None:
        self._cell, self._asked = cell, time.perf_counter()
        command = [sys.executable, "-m", "harness.bench.child", json.dumps(cell)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.start: dict[str, float] = {}

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
    moments = [time.perf_counter()]
    from harness import environment
    from harness.bench.steps import Cell, Ours

    moments.append(time.perf_counter())
    ours = Ours(Cell(**json.loads(sys.argv[1])))
    ours.batches(1)
    environment.reset_peak_memory(ours.device)
    before = ours.peak_memory()
    moments.append(time.perf_counter())
    ours.step(1)
    moments.append(time.perf_counter())
    names = ("import", "build", "first_step")
    print(json.dumps({name: moments[i + 1] - moments[i] for i, name in enumerate(names)}), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        ours.step(int(line))
        print(json.dumps({"seconds": time.perf_counter() - started, "memory": ours.peak_memory() - before}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
