"""Check and time the training step on a GPU, in a few minutes: python tests/gpu_check.py [--root CIFAR10] [--json FILE]

Checks: replayed CUDA graphs against steps launched one by one; fp32 and bf16 against fp32 launched one by one; runs in a gang
against the same runs alone, one beside them diverging. Times: single runs, gangs, and from them the whole of Fig. 6 of He et al.
2015 with the gradient norm of every layer at every step; beside them the rates of matrix products and copies on the same card.
Exit code 1 if a check fails, 2 if there is no such device. Without --root the images are random, of CIFAR-10's shape.
`--device cpu --quick` does the same, small and without graphs.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import random_images
import torch

from harness import layout, records, worker
from harness.choices import ChoiceError
from harness.config import DataConfig, RunConfig, ScheduleConfig
from harness.data import batches
from harness.devices import exactly, resolve
from harness.environment import describe_machine
from harness.gang import Own
from harness.models.inspection import inspect
from harness.records import Run
from harness.stepping import window
from harness.stopping import Stop
from harness.training import Training

FIG_6 = 64_000
"""Steps of each of its six runs: 20, 56, 110 layers, plain and residual."""
GOALS = {"minutes of Fig. 6": (10, "at most"), "a gang, times one after the other": (3, "at least")}
SAME = 1e-6
"""Relative difference of losses where the same kernels are launched on the same numbers: none is expected."""
FP32 = 1e-3
"""The same, of two ways to compute in fp32, before training has amplified the rounding: over the first EARLY steps."""
EARLY = 5
BF16 = 0.05
"""Relative difference of the mean loss over all checked steps: bfloat16 has 8 bits, and two trainings drift apart."""


@dataclass(frozen=True)
class Size:
    """How much is run: the nets, checked steps, rounds of a timing, sizes of gangs, images, matrices."""

    depths: tuple[int, ...] = (20, 56, 110)
    width: int = 16
    batch: int = 128
    checked: int = 60
    rounds: int = 8
    gangs: tuple[int, ...] = (2, 4, 8)
    images: int = 50_000
    side: int = 8192


QUICK = Size(depths=(8, 14), width=4, batch=32, checked=20, rounds=5, gangs=(2,), images=500, side=256)


class Check:
    """What was found on one device, and which checks failed."""

    def __init__(self, device, root, size, results):
        self.device, self.size, self.results = torch.device(device), size, results
        self.data = DataConfig("cifar10", root=root)
        self.found, self.failed = {}, []

    def config(self, depth, shortcut, steps=FIG_6, **choices):
        schedule = ScheduleConfig(steps=steps, batch_size=self.size.batch, learning_rate=0.01)
        kept = {"schedule": schedule, "gradient_norms": "every", "precision": "bf16", "width": self.size.width} | choices
        return RunConfig(depth, shortcut, data=self.data, device=str(self.device), **kept)

    def fig_6(self, depths):
        return [self.config(depth, shortcut) for depth in depths for shortcut in ("none", "identity")]

    def say(self, name, value, right=None):
        """Print and keep what was found; note a check that failed."""
        self.found[name] = value if right is None else {"found": value, "right": bool(right)}
        words = f"{value:.5g}" if isinstance(value, float) else str(value)
        print(f"{name:72} {words:>12} {'' if right is None else 'right' if right else 'WRONG'}", flush=True)
        self.failed += [name] if right is not None and not right else []

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def member(self, config, replays=True):
        """Return a run's folder's turns, each of a window of steps, and the list that holds its training after the first."""
        made, folder = [], Path(tempfile.mkdtemp(dir=self.results))
        run = records.create(config, folder)

        def life():
            training = Training(config, run, {}, Stop())
            made.append(training)
            training.stepper.replays &= replays
            while True:
                for _ in range(training.stepper.window):
                    training.advance(probed=False)
                yield
                training.flush()

        return Own(config, run).turns(life(), alone=False), made

    def losses(self, config, replays):
        """Return the losses of the first steps, at least as many as are checked, and the norms of every layer's gradient."""
        turns, made = self.member(config, replays)
        while not made or len(made[0].rows.steps) < self.size.checked:
            next(turns)
        turns.close()
        return np.array([row["loss"] for row in made[0].rows.steps]), made[0].rows.joined_norms()

    def seconds(self, configs):
        """Return the median seconds of a step of all these runs together, each of them making one."""
        members = [self.member(config)[0] for config in configs]
        steps, times = window(self.device), []
        for _ in range(2 + self.size.rounds):  # in the first the nets are built and steps recorded
            self.wait()
            before = time.perf_counter()
            for turns in members:
                next(turns)
            self.wait()
            times.append((time.perf_counter() - before) / steps)
        for turns in members:
            turns.close()
        return statistics.median(times[2:])


def difference(ours, theirs):
    """Return the largest relative difference."""
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-30)))


def check_steps(check):
    """Replays against steps launched one by one, and both precisions against fp32 launched one by one."""
    depth = check.size.depths[0]
    for shortcut in ("identity", "none"):
        name = f"{depth} {shortcut}"
        exact = check.config(depth, shortcut, precision="fp32")
        half = replace(exact, precision="bf16")
        (one, norms), (replayed, its_norms) = check.losses(exact, replays=False), check.losses(exact, replays=True)
        check.say(f"{name} fp32: replayed against one by one, losses", found := difference(replayed, one), found <= SAME)
        check.say(f"{name} fp32: the same, gradient norms", found := difference(its_norms, norms), found <= SAME)
        low, replayed_low = check.losses(half, replays=False)[0], check.losses(half, replays=True)[0]
        check.say(f"{name} bf16: replayed against one by one, losses", found := difference(replayed_low, low), found <= SAME)
        early = abs(replayed_low[0] / one[0] - 1)
        check.say(f"{name}: bf16 against fp32, first loss", float(early), early <= 0.02)
        mean = abs(replayed_low.mean() / one.mean() - 1)
        check.say(f"{name}: bf16 against fp32, mean loss", float(mean), mean <= BF16)


def check_processor(check):
    """The first losses in fp32 against those of the CPU: other kernels, the same arithmetic."""
    config = check.config(check.size.depths[0], "identity", precision="fp32")
    there = check.losses(config, replays=True)[0][:EARLY]
    here = Check("cpu", check.data.root, replace(check.size, checked=EARLY), check.results)
    found = difference(there, here.losses(here.config(check.size.depths[0], "identity", precision="fp32"), False)[0][:EARLY])
    check.say(f"fp32 against the CPU, first {EARLY} losses", found, found <= FP32)


def check_gang(check):
    """Runs in a gang against the same runs alone, one of them diverging, one drawing random numbers."""
    steps, depth = check.size.checked, check.size.depths[0]
    wild = check.config(depth, "none", steps, norm="none", precision="fp32")
    wild = replace(wild, schedule=replace(wild.schedule, learning_rate=1e4))
    calm = [check.config(depth, shortcut, steps) for shortcut in ("none", "dropout")]
    configs = [*calm, wild, check.config(depth, "identity", steps, survival=0.5)]
    alone, gang = check.results / "alone", check.results / "gang"

    def jobs(configs, results):
        common = {"results": str(results), "command": "tests/gpu_check.py", "quiet": True}
        return [common | {"run": c.run_name(), "choices": c.choices(), "places": c.places()} for c in configs]

    single = [worker.carry_out_jobs(jobs([config], alone))[0] for config in configs]
    states = worker.carry_out_jobs(jobs(configs, gang))
    check.say("a gang of four, one diverging: how they ended", " ".join(map(str, states)), states == single)
    check.say("the wild one diverges, the others are done", states[2], states == ["done", "done", "diverged", "done"])
    for config in configs:
        one, other = (Run(layout.run_folder(results, config.run_name())).steps["loss"].to_numpy() for results in (alone, gang))
        found = difference(other[:-1], one[:-1]) if len(one) == len(other) else float("inf")
        check.say(f"in the gang against alone: {config.shortcut}, norm={config.norm}", found, found <= SAME)


def rates(check):
    """Return the rate of bf16 matrix products in FLOP/s and of copies in byte/s."""
    side, device = check.size.side, check.device
    one, other, into = (torch.randn(side, side, device=device).bfloat16() for _ in range(3))
    source = torch.randn(4 * side * side, device=device)
    target = torch.empty_like(source)

    def seconds(work):
        times = []
        for _ in range(12):
            check.wait()
            before = time.perf_counter()
            work()
            check.wait()
            times.append(time.perf_counter() - before)
        return statistics.median(times[2:])

    multiply = 2.0 * side**3 / seconds(lambda: torch.mm(one, other, out=into))
    return multiply, 2.0 * source.numel() * 4 / seconds(lambda: target.copy_(source))


def work(config):
    """Return FLOPs and bytes of a step at least: forward once, backward twice; what is kept is written once and read once."""
    found = inspect(config, 3, 32, 10, config.schedule.batch_size, config.precision == "bf16")
    flops = 3.0 * found.flops * config.schedule.batch_size
    return np.array([flops, 2.0 * found.memory.activations + 5.0 * found.memory.weights])


def times(check):
    """Time single runs and gangs, and project Fig. 6."""
    limits = np.array(rates(check))
    check.say("bf16 matrix products, TFLOP/s", float(limits[0] / 1e12))
    check.say("copies, GB/s", float(limits[1] / 1e9))
    six, alone = check.fig_6(check.size.depths), 0.0
    for config in six:
        alone += (seconds := check.seconds([config]))
        shares = work(config) / limits / seconds
        check.say(f"{config.depth} {config.shortcut}: steps/s", 1 / seconds)
        check.say(f"{config.depth} {config.shortcut}: share of the matrix rate", float(shares[0]))
        check.say(f"{config.depth} {config.shortcut}: share of the copy rate", float(shares[1]))
    least, gains = check.config(check.size.depths[0], "identity"), []
    bare = replace(least, gradient_norms="probed")
    check.say("norms at every step, times a step without", check.seconds([least]) / check.seconds([bare]))
    for size in check.size.gangs:
        gang = [replace(least, seed=seed) for seed in range(size)]
        gains.append(size * check.seconds([least]) / check.seconds(gang))
        check.say(f"a gang of {size} at depth {least.depth}, times one after the other", gains[-1])
    ganged = check.seconds(six)
    turns, made = check.member(six[-1])
    next(turns)
    check.wait()
    before = time.perf_counter()
    made[0]._evaluation(made[0].data.test)
    evaluation = time.perf_counter() - before
    turns.close()
    evaluations = len(six) * (FIG_6 // made[0].per_epoch) * evaluation  # each as long as that of the deepest
    check.say("an evaluation of the deepest net, s", evaluation)
    check.say("minutes of the six runs' steps, one after the other", FIG_6 * alone / 60)
    check.say("minutes of the six runs' steps, as one gang", FIG_6 * ganged / 60)
    minutes = (FIG_6 * min(ganged, alone) + evaluations) / 60
    shares = sum(map(work, six)) * FIG_6 / limits / (60 * minutes)
    check.say("minutes of Fig. 6, evaluations included", minutes)
    check.say("share of the matrix rate", float(shares[0]))
    check.say("share of the copy rate", float(shares[1]))
    reached = {"minutes of Fig. 6": minutes, "a gang, times one after the other": max(gains)}
    for name, (bound, kind) in GOALS.items():
        met = reached[name] <= bound if kind == "at most" else reached[name] >= bound
        check.say(f"goal: {name} {kind} {bound}", "reached" if met else "missed")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--root")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    size = QUICK if asked.quick else Size()
    try:
        device = resolve(RunConfig(device=asked.device)).device
    except ChoiceError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    source = batches.source
    if asked.root is None:
        images = random_images.source(size.images, size.images // 5)
        batches.source = lambda config: images
    try:
        with tempfile.TemporaryDirectory() as folder, exactly(RunConfig(device=device)):
            check = Check(device, asked.root, size, Path(folder))
            check.say("device", describe_machine(device, 1)["gpu"] or "CPU")
            check.say("images", "CIFAR-10" if asked.root else "random")
            check_steps(check)
            check_processor(check)
            check_gang(check)
            times(check)
    finally:
        batches.source = source
    if asked.json:
        asked.json.write_text(json.dumps({"machine": describe_machine(device, 1), "found": check.found}, indent=2) + "\n")
    print(f"{len(check.failed)} of the checks failed{': ' if check.failed else ''}{'; '.join(check.failed)}")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
