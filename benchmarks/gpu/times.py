"""How fast steps are on a GPU: alone and interleaved, and from them the whole of Fig. 6 of He et al. 2015. A part of gpu_check.

That figure is six runs of 64,000 steps with the gradient norm of every layer at every step. Beside them stand the rates of matrix
products and copies on the same card.
"""

import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from harness.bench import machine, workload
from harness.bench.random_images import random_images
from harness.bench.timing import timed
from harness.config.run import Precision
from harness.training.step import window

FIG_6 = 64_000
"""Steps of each of its six runs: 20, 56, 110 layers, plain and residual."""
GOALS = {"minutes of Fig. 6": (10, "at most"), "interleaved, times one after the other": (3, "at least")}


def seconds_a_step(check, configs):
    """Return the median seconds of a step of all these runs together, each of them making one."""
    members = [check.member(config) for config in configs]
    steps, times = window(check.device), []
    for _ in range(2 + check.size.rounds):  # in the first the nets are built and steps recorded
        check.wait()
        before = time.perf_counter()
        for turns, _ in members:
            next(turns)
        check.wait()
        times.append((time.perf_counter() - before) / steps)
    for turns, made in members:
        turns.close()
        if check.recordable and not made[0].stepper.replays:
            check.say("the steps that are timed are recorded", "not", False)
    return statistics.median(times[2:])


def rates(check):
    """Return the rate of bf16 matrix products in FLOP/s and of copies in byte/s."""
    threads = torch.get_num_threads()
    operations = [machine.product(check.device, Precision.bf16, threads), machine.copy(check.device, threads)]
    return [amount / statistics.median([timed(repeat, 1) for _ in range(12)][2:]) for repeat, amount in operations]


def least_work(config):
    """Return the FLOPs and the bytes that a step takes at least, as an array."""
    images = random_images(50_000, 10_000).facts(config.located_data())
    return np.array(workload.work(config, images)[:2])


def times(check):
    """Time single and interleaved runs, and project Fig. 6."""
    limits = np.array(rates(check))
    check.say("bf16 matrix products, TFLOP/s", float(limits[0] / 1e12))
    check.say("copies, GB/s", float(limits[1] / 1e9))
    six = [check.config(depth, shortcut) for depth in check.size.depths for shortcut in ("none", "identity")]
    alone = 0.0
    for config in six:
        alone += (seconds := seconds_a_step(check, [config]))
        shares = least_work(config) / limits / seconds
        check.say(f"{config.depth} {config.shortcut}: steps/s", 1 / seconds)
        check.say(f"{config.depth} {config.shortcut}: share of the matrix rate", float(shares[0]))
        check.say(f"{config.depth} {config.shortcut}: share of the copy rate", float(shares[1]))
    least, gains = check.config(check.size.depths[0], "identity"), []
    bare = replace(least, gradient_norms="probed")
    check.say("norms at every step, times a step without", seconds_a_step(check, [least]) / seconds_a_step(check, [bare]))
    for size in check.size.interleaved:
        several = [replace(least, seed=seed) for seed in range(size)]
        gains.append(size * seconds_a_step(check, [least]) / seconds_a_step(check, several))
        check.say(f"{size} interleaved runs at depth {least.depth}, times one after the other", gains[-1])
    interleaved = seconds_a_step(check, six)
    turns, made = check.member(six[-1])
    next(turns)
    for _ in range(2):  # the first finds its memory
        check.wait()
        before = time.perf_counter()
        made[0].evaluate(made[0].data.test)
        evaluation = time.perf_counter() - before
    turns.close()
    evaluations = len(six) * (FIG_6 // made[0].per_epoch) * evaluation  # each as long as that of the deepest
    check.say("an evaluation of the deepest net, s", evaluation)
    check.say("minutes of the six runs' steps, one after the other", FIG_6 * alone / 60)
    check.say("minutes of the six runs' steps, all interleaved", FIG_6 * interleaved / 60)
    minutes = (FIG_6 * min(interleaved, alone) + evaluations) / 60
    shares = sum(map(least_work, six)) * FIG_6 / limits / (60 * minutes)
    check.say("minutes of Fig. 6, evaluations included", minutes)
    check.say("share of the matrix rate", float(shares[0]))
    check.say("share of the copy rate", float(shares[1]))
    reached = {"minutes of Fig. 6": minutes, "interleaved, times one after the other": max(gains)}
    for name, (bound, kind) in GOALS.items():
        met = reached[name] <= bound if kind == "at most" else reached[name] >= bound
        check.say(f"goal: {name} {kind} {bound}", "reached" if met else "missed")
