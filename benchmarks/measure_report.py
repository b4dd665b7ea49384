"""Measure the cost of a report: python -m benchmarks.measure_report [RUNS ...]  (200 600 2000)

Generates sweeps of runs with 110 layers, 61 probed steps and 64,000 steps in total (two shortcuts, with and without batch
normalisation, five learning rates, several seeds), builds the report of each in a fresh process, and prints its wall-clock
time, processor time, peak memory, number of figures, size, and time per row of layers.csv.gz. Probe tables are random for
TEMPLATES seeds of each arm and then repeat. Each run has its own files, except for the two that no figure uses (steps.csv and
weights), which are hard links. Targets: 2,000 runs in 60 s and 3 GiB, time linear in rows.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.records import paths, schema, states, writer
from harness.records.run import conclude, create

DEPTH, STEPS = 110, 64_000
PROBED = sorted({*range(11), *(round(10 * 2 ** (k / 4)) for k in range(1, 50)), STEPS})
EVALUATED = [*range(390, STEPS, 390), STEPS]
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)
TEMPLATES = 10
WEIGHTS_BYTES = 4 * 1_727_962
ENVIRONMENT = {
    "python": "3.11.0",
    "system": "Linux x86_64",
    "packages": {"torch": "2.5.0", "pandas": "2.2.0"},
    "torch": {"cuda": None, "git": "0", "cpu_capability": "AVX512"},
    "cpu": "generated",
    "gpu": None,
    "threads": 1,
    "data_checksum": "sha256:0",
    "code": {"commit": "0" * 40, "dirty": False},
}


def configs(runs, depth=DEPTH, steps=STEPS, rates=RATES):
    """Return the configs of `runs` runs: every arm and learning rate, with as many seeds as needed."""
    arms = [(shortcut, norm, rate) for shortcut in ("none", "identity") for norm in ("batch", "none") for rate in rates]
    schedule = ScheduleConfig(steps=steps)
    return [
        RunConfig(depth, shortcut, norm, seed=seed, schedule=replace(schedule, learning_rate=rate), device="cpu")
        for seed in range(-(-runs // len(arms)))
        for shortcut, norm, rate in arms
    ][:runs]


def probe_tables(config, seed, probed):
    """Return a run's probe tables by file name: random, with the shape, range and number of digits of recorded tables."""
    random = np.random.default_rng([seed, config.shortcut == "none", config.norm == "batch"])
    depth, steps, count = config.depth, np.array(probed), len(probed)

    def rows(places, decay):
        """Return step, place and log-normal norms that grow or fall by `decay` a place."""
        step, place = np.repeat(steps, len(places)), np.tile(places, count)
        return step, place, np.exp(decay * (places.max() - place) + 0.3 * random.normal(size=len(step)))

    decay = {("none", "batch"): 0.12, ("none", "none"): -0.9}.get((config.shortcut, config.norm), 0.01)
    step, layer, norm = rows(np.arange(1, depth + 1), decay)
    names = ["stem.conv", *(f"stages.{i % 3}.{i // 6}.conv{i % 2 + 1}" for i in range(depth - 2)), "linear"]
    layers = {
        "step": step,
        "layer": layer,
        "name": np.tile(names, count),
        "kind": np.where(layer < depth, "conv", "linear"),
        "grad_norm": np.where(norm < 1e-40, 0.0, norm),
        "weight_norm": 10 + random.normal(size=len(step)),
        "update_norm": np.where(step < steps[-1], 0.1 * norm, np.nan),
        "nonzero": 9216,
        "elements": 9216,
        "response_std": np.exp(0.2 * random.normal(size=len(step))),
    }
    step, block, norm = rows(np.arange((depth - 2) // 2 + 1), 2 * decay)
    blocks = {
        "step": step,
        "block": block,
        "name": [f"stages.{place % 3}.{place // 3}" for place in block],
        "stage": block % 4,
        "forward_norm": 256 * np.exp(0.1 * random.normal(size=len(step))),
        "grad_norm": norm,
        "nonzero": 131072,
        "elements": 131072,
    }
    named = {paths.probe_table("layers"): layers, paths.probe_table("blocks"): blocks}
    return {name: pd.DataFrame(table)[list(schema.COLUMNS[name])] for name, table in named.items()}


def epochs(config, evaluated):
    """Return a run's epochs.csv, evaluated at these steps: the error falls to a floor that depends on the run."""
    random = np.random.default_rng([config.seed, round(1e3 * config.schedule.learning_rate), config.shortcut == "none"])
    step, count = np.array(evaluated), len(evaluated)
    floor = 5 + 4 * (config.shortcut == "none") + 5 * config.schedule.learning_rate + 0.5 * random.normal()
    error = 80 * np.exp(-np.arange(count) / count * 8) + floor + 0.3 * random.normal(size=count)
    at_end = np.where(step == step[-1], error, np.nan)
    table = dict.fromkeys(schema.COLUMNS[paths.EPOCHS], np.nan) | {
        "step": step,
        "epoch": range(1, count + 1),
        "learning_rate": config.schedule.learning_rate,
        "batch_loss": error / 40,
        "batch_error": error,
        "train_loss": at_end / 50,
        "train_error": at_end - 2,
        "test_loss": error / 30,
        "test_error": error + 3,
        "seconds": step * 0.14,
    }
    return pd.DataFrame(table)[list(schema.COLUMNS[paths.EPOCHS])]


def generate(results, asked, probed=PROBED, evaluated=EVALUATED):
    """Write finished runs of the configs below `results`, probed and evaluated at these steps; return their names."""
    shared = results / "generated"
    shared.mkdir(parents=True)
    last = probed[-1]
    steps = {"step": range(last), "epoch": 0, "learning_rate": 0.1, "loss": np.random.default_rng(0).random(last), "error": 5.0}
    writer.write_table(shared / paths.STEPS, pd.DataFrame(steps))
    (shared / paths.WEIGHTS).write_bytes(np.random.default_rng(0).bytes(WEIGHTS_BYTES))
    for config in asked:
        template = shared / f"{config.shortcut}-{config.norm}-{config.seed % TEMPLATES}"
        if not template.is_dir():
            for name, table in probe_tables(config, config.seed % TEMPLATES, probed).items():
                writer.write_table(template / name, table)
        run = create(config, results)
        shutil.copytree(template, run.folder, dirs_exist_ok=True)
        epochs(config, evaluated).to_csv(run.folder / paths.EPOCHS, index=False)
        for name in (paths.STEPS, paths.WEIGHTS):
            os.link(shared / name, run.folder / name)
        (run.folder / paths.ENVIRONMENT).write_text(json.dumps(ENVIRONMENT))
        conclude(run, states.DONE, step=last, steps=last, seconds=9000.0, parameters=WEIGHTS_BYTES // 4)
    return [config.run_name() for config in asked]


def sweep(results, names):
    """Write a sweep of the runs, and return its folder."""
    folder = paths.sweep_folder(results, f"generated-{len(names)}")
    folder.mkdir(parents=True, exist_ok=True)
    writer.write_json(folder / paths.SWEEP, {"experiment": "none", "command": "generated", "runs": names})
    return folder


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder):
    """Build the report in a fresh process; return its seconds, processor seconds, peak GiB, figures, and MiB of HTML."""
    before, started = processor_seconds(), time.perf_counter()
    command = [sys.executable, "-c", f"import resource, harness.report as r; code = r.conclude(r.Path({str(folder)!r}));"]
    command[-1] += "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    cpu = processor_seconds() - before
    code, peak = map(int, done.stdout.split()[-2:])
    assert code == 0, done.stdout
    size = (folder / paths.REPORT_HTML).stat().st_size / 2**20
    return seconds, cpu, peak / 2**20, len(list((folder / paths.FIGURES).glob("*.svg"))), size


def main():
    counts = [int(count) for count in sys.argv[1:]] or [200, 600, 2000]
    assert len(PROBED) == 61
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        names = generate(results, configs(max(counts)))
        print(f"{'runs':>5} {'rows':>12} {'time':>8} {'cpu':>8} {'peak':>10} {'figures':>8} {'page':>9} {'a row':>9}")
        for count in counts:
            rows = count * DEPTH * len(PROBED)
            seconds, cpu, peak, figures, size = measure(sweep(results, names[:count]))
            cost = f"{seconds:6.1f} s {cpu:6.1f} s {peak:6.2f} GiB {figures:8} {size:5.1f} MiB {seconds / rows * 1e6:6.2f} µs"
            print(f"{count:5} {rows:12,} {cost}", flush=True)


if __name__ == "__main__":
    main()
