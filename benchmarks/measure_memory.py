"""Compare a training step's peak memory with the estimate of harness.describe: python -m benchmarks.measure_memory CIFAR_ROOT

Each net takes three steps of batch size 128 on CIFAR-10 in a fresh process, with both probes, on two threads, with and without
activation checkpointing. Prints the peak memory of the process, how much the steps raised it, and the estimate.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.config.data import DataConfig
from harness.config.execution import ExecutionConfig
from harness.config.run import RunConfig
from harness.models.summary import summarize
from harness.records.run import create
from harness.system.signals import Stop
from harness.training.devices import deterministic
from harness.training.loop import Training

CASES = [(20, False), (110, False), (110, True), (1202, True)]
"""Depth, and whether activation checkpointing is on."""


def peak():
    """Return the peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(depth, checkpointing, root):
    """Take three probed steps; print peak memory in GiB before and after, and the seconds of the fastest."""
    config = RunConfig(
        depth,
        device="cpu",
        threads=2,
        data=DataConfig("cifar10"),
        execution=ExecutionConfig(data_root=root, activation_checkpointing=checkpointing),
    )
    with tempfile.TemporaryDirectory() as folder, deterministic(config):
        training = Training(config, create(config, Path(folder)), {}, Stop())
        before, seconds = peak(), []
        for _ in range(3):
            started = time.perf_counter()
            training.advance(probed=True)
            seconds.append(time.perf_counter() - started)
        print(before, peak(), min(seconds))


def main(root):
    for depth, checkpointing in CASES:
        command = [sys.executable, __file__, root, str(depth), str(int(checkpointing))]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        before, top, seconds = map(float, output)
        estimate = summarize(RunConfig(depth), 3, 32, 10, 128, recompute=checkpointing).memory.total / 2**30
        kind = "checkpointed" if checkpointing else "ordinary"
        numbers = f"peak {top:.2f} GiB, by the steps {top - before:.2f}, estimate {estimate:.2f}; {seconds:.1f} s a step"
        print(f"depth {depth}, {kind}: {numbers}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(int(sys.argv[2]), sys.argv[3] == "1", sys.argv[1])
    else:
        main(sys.argv[1])
