"""Print the kernels of a training step by name, and on a GPU the time of a replayed step.

python -m benchmarks.gpu.profile_step [--device cuda] [DEPTH-SHORTCUT ...]
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch

from harness.bench.random_images import random_images
from harness.config.data import DataConfig
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data import batches
from harness.records.run import create
from harness.system.signals import Stop
from harness.training.devices import deterministic, new_stream
from harness.training.loop import Training

SHOWN = 28
"""Kernels that are listed."""
STEPS, REPLAYS = 3, 40


def profile(net, device):
    depth, shortcut = net.split("-")
    schedule = ScheduleConfig(batch_size=8 if device == "cpu" else 128)
    choices = {"precision": "bf16", "gradient_norms": "every", "data": DataConfig("cifar10"), "schedule": schedule}
    config = RunConfig(int(depth), shortcut, device=device, **choices)
    with tempfile.TemporaryDirectory() as folder, new_stream(torch.device(config.torch_device)):
        training = Training(config, create(config, Path(folder)), {}, Stop())
        for _ in range(5):
            training.advance(False)
        if training.stepper.window > 1:  # on a GPU steps are fetched together
            training.flush()
        replay = training.stepper._replay
        training.stepper.replays, training.stepper._replay = False, None  # launched one by one, so that every kernel has a name
        activities = [torch.profiler.ProfilerActivity.CPU]
        if device != "cpu":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profiler:
            for _ in range(STEPS):
                training.advance(False)
            if device != "cpu":
                torch.cuda.synchronize()
        show(net, profiler, device)
        if replay is not None:
            time_replays(replay)


def show(net, profiler, device):
    sums = defaultdict(lambda: [0, 0.0])
    for event in profiler.events():
        spent = event.time_range.elapsed_us()
        if (event.device_type == torch.autograd.DeviceType.CUDA) == (device != "cpu") and spent:
            sums[event.name][0] += 1
            sums[event.name][1] += spent
    total, count = sum(spent for _, spent in sums.values()), sum(count for count, _ in sums.values())
    print(f"== {net}: {count / STEPS:.0f} kernels a step, {total / STEPS / 1e3:.3f} ms in them")
    for name, (count, spent) in sorted(sums.items(), key=lambda item: -item[1][1])[:SHOWN]:
        print(f"{100 * spent / total:5.1f} %  {count / STEPS:6.1f} x {spent / count:8.2f} us  {name[:110]}")


def time_replays(replay):
    for _ in range(3):
        torch.cuda.synchronize()
        before = time.perf_counter()
        for _ in range(REPLAYS):
            replay()
        torch.cuda.synchronize()
        print(f"   replayed: {(time.perf_counter() - before) / REPLAYS * 1e3:.3f} ms a step")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("nets", nargs="*", default=["20-identity", "110-identity"])
    asked = parser.parse_args()
    images = random_images(2_000 if asked.device == "cpu" else 50_000, 1_000)
    batches.source = lambda config: images
    with deterministic(RunConfig(device=asked.device)):
        for net in asked.nets:
            profile(net, asked.device)
