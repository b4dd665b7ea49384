"""Measure the cost of probes: python -m benchmarks.measure_probes [SECONDS per net]

Ordinary and probed steps take turns in one process; the ratio is that of their medians. The share of a run of 64,000 steps is the
number of its probed steps times the extra time of each. Targets: a ratio of 1.6 and a share of 2 %.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from harness.bench.random_images import RANDOM
from harness.config.data import DataConfig
from harness.config.run import RunConfig
from harness.probes.base import probe_steps
from harness.records.run import create
from harness.system.signals import Stop
from harness.training.devices import deterministic
from harness.training.loop import Training


def measure(config, seconds):
    """Return (median ordinary step, median probed step) in seconds."""
    with tempfile.TemporaryDirectory() as folder, deterministic(config):
        training = Training(config, create(config, Path(folder)), {}, Stop())
        times = {False: [], True: []}
        started, step = time.perf_counter(), 0
        while time.perf_counter() - started < seconds or len(times[True]) < 5:
            probed = bool(step % 2)
            before = time.perf_counter()
            training.advance(probed)
            times[probed].append(time.perf_counter() - before)
            step += 1
    return tuple(statistics.median(times[probed][1:]) for probed in (False, True))


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    count = len(probe_steps(64_000))
    print(f"{count} probed steps in 64,000\n\n{'cell':36} {'step':>9} {'probed':>9} {'ratio':>6} {'share of 64,000':>16}")
    for data in ("digits", RANDOM):
        for precision in ("fp32", "bf16"):
            for depth in (20, 56, 110):
                for shortcut in ("none", "identity"):
                    config = RunConfig(depth, shortcut, data=DataConfig(data), device="cpu", precision=precision)
                    plain, probed = measure(config, seconds)
                    share = count * (probed - plain) / (64_000 * plain)
                    cell = f"{data} {precision} {shortcut} {depth}"
                    print(
                        f"{cell:36} {plain * 1e3:6.1f} ms {probed * 1e3:6.1f} ms {probed / plain:6.2f} {share:15.2%}", flush=True
                    )


if __name__ == "__main__":
    main()
