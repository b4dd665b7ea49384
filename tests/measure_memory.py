"""Peak memory of a probed training step against what harness.describe foretells: python tests/measure_memory.py CIFAR_ROOT

Each net takes one step of batch 128 on CIFAR-10, with both probes, in a process of its own, with and without activation
checkpointing; printed are the process's peak memory less what it had before the net was built, and the estimate.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import records
from harness.config import DataConfig, RunConfig
from harness.models.inspection import inspect
from harness.stopping import Stop
from harness.training import Training

CASES = [(20, False), (110, False), (110, True), (1202, True)]


def peak():
    """Return the peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(depth, checkpointing, root):
    """Take one probed step; print peak memory before and after, and seconds."""
    config = RunConfig(
        depth, device="cpu", threads=2, data=DataConfig("cifar10", root=root), activation_checkpointing=checkpointing
    )
    with tempfile.TemporaryDirectory() as folder:
        before, started = peak(), time.perf_counter()
        training = Training(config, records.create(config, Path(folder)), {}, Stop())
        loaded, batch = peak(), training.batches.at(0)
        with training._probed(0, batch):
            training._update(0, batch)
        print(before, loaded, peak(), time.perf_counter() - started)


def main(root):
    for depth, checkpointing in CASES:
        command = [sys.executable, __file__, root, str(depth), str(int(checkpointing))]
        words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        _, loaded, top, seconds = map(float, words)
        foretold = inspect(RunConfig(depth), 3, 32, 10, 128, recompute=checkpointing).memory.total / 2**30
        kind = "checkpointed" if checkpointing else "ordinary"
        print(
            f"depth {depth}, {kind}: peak {top:.2f} GiB, of which the step {top - loaded:.2f}, foretold {foretold:.2f}; {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(int(sys.argv[2]), sys.argv[3] == "1", sys.argv[1])
    else:
        main(sys.argv[1])
