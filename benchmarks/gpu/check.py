"""Check and time the training step on a GPU, in a few minutes: python -m benchmarks.gpu.check [--root CIFAR10] [--json FILE]

Checks (`--only PART ...` some of them): that steps are recorded as CUDA graphs and give what steps launched one by one give, with
draws, between probed steps and after a checkpoint, too; bf16 against fp32, and fp32 against the CPU; steps of every kind of net;
interleaved runs against the same runs alone, one beside them diverging. Times: see gpu_times. What breaks one part ends no other,
unless it breaks CUDA, and the JSON is written after each. Exit code 1 if a check fails, 2 if there is no such device. Without
--root the images are random, of CIFAR-10's shape. `--device cpu --quick` does the same, small and without graphs.
"""

import argparse
import json
import sys
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu import times as gpu_times
from harness.bench.random_images import random_images
from harness.config.data import LocatedData
from harness.config.execution import ExecutionConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data import batches
from harness.launching.job import Job
from harness.launching.worker import train_job
from harness.records import paths
from harness.records.run import Run, create
from harness.system import logs
from harness.system.cores import available_cores
from harness.system.signals import Stop
from harness.training.auto import resolve
from harness.training.devices import deterministic
from harness.training.environment import describe_machine
from harness.training.interleaving import interleave, isolated
from harness.training.loop import Training

SAME = 1e-6
"""Relative difference of losses where the same kernels are launched on the same numbers: none is expected."""
FP32 = 1e-3
"""The same, of two ways to compute in fp32, before training has amplified the rounding: over the first EARLY steps."""
EARLY = 5
NORMS = 5e-2
"""The same, of gradient norms at step 0 with 20 layers: behind BN gradients nearly cancel, and two threads of a CPU differ from
one by 2.4e-3 there."""
BF16 = 0.05
"""Relative difference of the mean loss over all checked steps: bfloat16 has 8 bits, and two trainings drift apart."""
DRAWING = {"shortcut": "dropout", "survival": 0.5}
KINDS = (
    {"depth": 20, "update_scaling": "layerwise"},
    {"depth": 20, "shortcut": "exclusive_gate"},
    {"depth": 20, "norm": "none", "shortcut": "none"},
    {"depth": 20, "execution": ExecutionConfig(activation_checkpointing=True)},
    {"depth": 29, "block": "bottleneck", "shortcut": "projection", "order": "preactivation"},
    {"depth": 18, "family": "imagenet", "width": "auto"},
    {"depth": 22, "family": "densenet", "width": "auto", "shortcut": "concatenation"},
)


@dataclass(frozen=True)
class Size:
    """How much is run: the nets, checked steps, rounds of a timing, numbers of interleaved runs, images."""

    depths: tuple[int, ...] = (20, 56, 110)
    width: int = 16
    batch: int = 128
    checked: int = 100
    rounds: int = 8
    interleaved: tuple[int, ...] = (2, 4, 8)
    images: int = 50_000


QUICK = Size(depths=(8, 14), width=4, batch=32, checked=20, rounds=5, interleaved=(2,), images=500)


class Check:
    """What was found on one device, and which checks failed."""

    def __init__(self, device, root, size, results):
        self.device, self.size, self.results = torch.device(device), size, results
        self.data = LocatedData("cifar10", root=root)
        self.recordable = self.device.type == "cuda"
        self.found, self.failed = {}, []

    def config(self, depth, shortcut="identity", steps=gpu_times.FIG_6, **choices):
        schedule = ScheduleConfig(steps=steps, batch_size=self.size.batch, learning_rate=0.01)
        kept = {"schedule": schedule, "gradient_norms": "every", "precision": "bf16", "width": self.size.width} | choices
        return RunConfig(depth, shortcut, data=self.data, device=str(self.device), **kept)

    def say(self, name, value, right=None):
        """Print and keep what was found; note a check that failed."""
        self.found[name] = value if right is None else {"found": value, "right": bool(right)}
        words = f"{value:.5g}" if isinstance(value, float) else str(value)
        print(f"{name:80} {words:>12} {'' if right is None else 'right' if right else 'WRONG'}", flush=True)
        self.failed += [name] if right is not None and not right else []

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def member(self, config, replays=True, probed=(), saved=False, resumed=None):
        """Return a run's turns, each of a window of steps, and the list that holds its training after the first.

        `probed` are the steps at which probes look. A training is `saved` after every window, or goes on from the checkpoint
        of the run that is `resumed`.
        """
        made, run = [], resumed or create(config, Path(tempfile.mkdtemp(dir=self.results)))

        def life():
            training = Training(config, run, {}, Stop())
            if resumed:
                training.resume()
            made.append(training)
            training.stepper.replays &= replays
            while True:
                for _ in range(training.stepper.window):
                    training.advance(probed=training.step in probed)
                yield
                training.flush()
                if saved:
                    training.save()

        return isolated(life(), config, run, solo=False), made

    def trained(self, config, steps=None, **choices):
        """Return a training of at least so many steps, or as many as are checked; it fails the check if it recorded none.

        `choices` are those of `member`.
        """
        turns, made = self.member(config, **choices)
        while not made or len(made[0].recorder.steps) < (steps or self.size.checked):
            next(turns)
        self.wait()
        turns.close()
        asked = self.recordable and choices.get("replays", True) and not config.execution.activation_checkpointing
        if asked and not made[0].stepper.replays:
            self.say(f"{config.depth} {config.shortcut} {config.precision.value}: steps are recorded", "not", False)
        return made[0]


def losses(training):
    """Return the loss of every step."""
    return np.array([row["loss"] for row in training.recorder.steps])


def difference(ours, theirs):
    """Return the largest relative difference of two rows of numbers, as far as both go."""
    both = min(len(ours), len(theirs))
    return float(np.max(np.abs(ours[:both] - theirs[:both]) / np.maximum(np.abs(theirs[:both]), 1e-30)))


def check_steps(check):
    """Replays against steps launched one by one, and both precisions against fp32 launched one by one."""
    depth = check.size.depths[0]
    for choices in ({"shortcut": "identity"}, {"shortcut": "none"}, DRAWING):
        name = f"{depth} {choices['shortcut']}"
        exact = check.config(depth, **choices, precision="fp32")
        half = replace(exact, precision="bf16")
        one, replayed = check.trained(exact, replays=False), check.trained(exact)
        found = difference(losses(check.trained(exact, replays=False)), losses(one))
        check.say(f"{name} fp32: one by one, twice, losses", found, found <= SAME)
        check.say(f"{name} fp32: replayed, losses", found := difference(losses(replayed), losses(one)), found <= SAME)
        found = difference(replayed.recorder.joined_norms(), one.recorder.joined_norms())
        check.say(f"{name} fp32: replayed, gradient norms", found, found <= SAME)
        low, replayed_low = losses(check.trained(half, replays=False)), losses(check.trained(half))
        check.say(f"{name} bf16: replayed, losses", found := difference(replayed_low, low), found <= SAME)
        early = abs(replayed_low[0] / losses(one)[0] - 1)
        check.say(f"{name}: bf16 against fp32, first loss", float(early), early <= 0.02)
        mean = abs(replayed_low.mean() / losses(one).mean() - 1)
        check.say(f"{name}: bf16 against fp32, mean loss", float(mean), mean <= BF16)


def check_interruptions(check):
    """Steps between which probes look, and steps after a checkpoint, of a net that draws: those of a training left alone."""
    config = check.config(check.size.depths[0], **DRAWING)
    whole = losses(check.trained(config))
    probed = losses(check.trained(config, probed={0, 1, 7, check.size.checked // 2}))
    check.say("probed now and then, losses", found := difference(probed, whole), found <= SAME)
    half = check.trained(config, check.size.checked // 2, saved=True)
    resumed = losses(check.trained(config, resumed=half.run))
    check.say("resumed, losses", found := difference(resumed, whole), found <= SAME)


def check_processor(check):
    """The first losses and gradient norms in fp32 against those of the CPU: other kernels, the same arithmetic."""
    cpu = Check("cpu", check.data.root, check.size, check.results)
    for depth in (check.size.depths[0], check.size.depths[-1]):
        for shortcut in ("identity", "none"):
            steps = EARLY if depth == check.size.depths[0] else 1
            there = check.trained(check.config(depth, shortcut, precision="fp32"), steps)
            here = cpu.trained(cpu.config(depth, shortcut, precision="fp32", threads=available_cores()), steps)
            of_losses = difference(losses(there)[:steps], losses(here))
            of_norms = difference(there.recorder.joined_norms()[0], here.recorder.joined_norms()[0])
            judged = depth == check.size.depths[0]
            name = f"{depth} {shortcut} fp32 against the CPU"
            check.say(f"{name}, first losses", of_losses, of_losses <= FP32 if judged else None)
            check.say(f"{name}, gradient norms at step 0", of_norms, of_norms <= NORMS if judged else None)


def check_kinds(check):
    """A window of steps and a probed one of every other kind of net, replayed as one by one."""
    for choices in KINDS:
        name = " ".join(f"{key}={value}" for key, value in choices.items())
        config = check.config(**choices, precision="fp32")
        one, other = check.trained(config, 1, replays=False, probed={5}), check.trained(config, 1, probed={5})
        found = difference(losses(other), losses(one))
        check.say(name, found, found <= SAME)


def check_interleaved(check):
    """Interleaved runs against the same runs alone: one diverging, two drawing random numbers, in both precisions."""
    steps, depth = check.size.checked, check.size.depths[0]
    wild = check.config(depth, "none", steps, norm="none", precision="fp32")
    wild = replace(wild, schedule=replace(wild.schedule, learning_rate=1e4))
    calm = [check.config(depth, "none", steps), check.config(depth, "dropout", steps)]
    calm += [check.config(depth, "identity", steps, survival=0.5), check.config(depth, "identity", steps, precision="fp32")]
    configs = [wild, *calm]
    alone, interleaved = check.results / "alone", check.results / "interleaved"
    for place in (alone, interleaved):
        place.mkdir()

    def together(configs, results):
        jobs = [Job(create(config, results), config, "benchmarks/gpu/check.py") for config in configs]
        return interleave([train_job(job, Stop(), len(jobs)) for job in jobs])

    single = [together([config], alone)[0] for config in configs]
    states = together(configs, interleaved)
    check.say("five interleaved runs, one diverging: ended as alone", " ".join(map(str, states)), states == single)
    check.say("the wild one diverges, the others are done", states[0], states == ["diverged", *["done"] * 4])
    for config in configs:
        runs = [Run(paths.run_folder(results, config.run_name())) for results in (alone, interleaved)]
        one, other = (run.steps["loss"].to_numpy() for run in runs)
        found = difference(other[:-1], one[:-1]) if len(one) == len(other) else float("inf")
        name = f"{config.shortcut}, norm={config.norm}, {config.precision.value}, survival={config.survival:g}"
        check.say(f"interleaved against alone: {name}", found, found <= SAME)


PARTS = {
    "steps": check_steps,
    "interruptions": check_interruptions,
    "processor": check_processor,
    "kinds": check_kinds,
    "interleaved": check_interleaved,
    "times": gpu_times.times,
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--root")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
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
        images = random_images(size.images, size.images // 5)
        batches.source = lambda config: images
    logs.log_to_stderr()
    machine = describe_machine(device, 1)
    try:
        with tempfile.TemporaryDirectory() as folder, deterministic(RunConfig(device=device)):
            check = Check(device, asked.root, size, Path(folder))
            check.say("device", machine["gpu"] or "CPU")
            check.say("images", "CIFAR-10" if asked.root else "random")
            for name in asked.only:
                try:
                    PARTS[name](check)
                except Exception as error:
                    traceback.print_exc()
                    check.say(f"{name}: ran to its end", type(error).__name__, False)
                if asked.json:
                    asked.json.write_text(json.dumps({"machine": machine, "found": check.found}, indent=2) + "\n")
    finally:
        batches.source = source
    print(f"{len(check.failed)} of the checks failed{': ' if check.failed else ''}{'; '.join(check.failed)}")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
