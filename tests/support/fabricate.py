"""Sweeps made by hand from given results, so that their verdicts are known in advance."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from benchmarks import measure_report
from harness.analysis.tables import Tables
from harness.config.data import SCHEDULES, DataConfig
from harness.config.run import RunConfig
from harness.records import paths, schema, states, writer
from harness.records.run import conclude, create


def cifar(depth, shortcut, seed=0, warmup="until_error", milestones=None, **choices):
    """Return the config of a run with the protocol of He et al. 2015, section 4.2."""
    schedule = replace(SCHEDULES["cifar10"], warmup=warmup, milestones=milestones)
    return RunConfig(depth, shortcut, seed=seed, data=DataConfig("cifar10"), schedule=schedule, device="cpu", **choices)


def digits(depth, shortcut, seed=0, learning_rate=0.01, **choices):
    schedule = replace(SCHEDULES["digits"], learning_rate=learning_rate)
    return RunConfig(depth, shortcut, seed=seed, schedule=schedule, device="cpu", **choices)


def finish(results, config, train, test, state=states.DONE, tables: Mapping[str, pd.DataFrame] | None = None):
    """Write a run with the final errors `train` and `test` (percent) and `tables` by file name; return its name."""
    run = create(config, results)
    row = dict.fromkeys(schema.COLUMNS[paths.EPOCHS]) | {"step": config.schedule.steps, "epoch": 1, "seconds": 1.0}
    row |= {
        "train_error": train,
        "test_error": test,
        "train_loss": 0.1,
        "test_loss": 0.1,
        "batch_loss": 0.1,
        "batch_error": train,
    }
    writer.write_table(run.folder / paths.EPOCHS, writer.make_table(paths.EPOCHS, [row]))
    for name, table in (tables or {}).items():
        writer.write_table(run.folder / name, table)
    (run.folder / paths.ENVIRONMENT).write_text(json.dumps(measure_report.ENVIRONMENT))
    conclude(run, state, step=config.schedule.steps, steps=config.schedule.steps, seconds=1.0, parameters=1)
    return run.folder.name


def steps(config, **columns):
    """Return {steps.csv: table} with these columns, each a sequence of one value per step."""
    length = len(next(iter(columns.values())))
    table = {"step": range(length), "epoch": 1, "learning_rate": config.schedule.learning_rate, "loss": 1.0, "error": 50.0}
    return {paths.STEPS: pd.DataFrame(table | columns)}


def sweep(results, names, experiment="none", label="made"):
    """Write a sweep of the named runs; return its tables."""
    folder = paths.sweep_folder(results, label)
    folder.mkdir(parents=True, exist_ok=True)
    writer.write_json(folder / paths.SWEEP, {"experiment": experiment, "command": "made by hand", "runs": list(names)})
    return Tables(folder)


def nets(results, make, errors: Mapping[tuple, list], test_above=0.0, **choices):
    """Write runs and return their names; `errors` maps (depth, shortcut) to the training error (percent) of each seed."""
    return [
        finish(results, make(depth, shortcut, seed, **choices), error, error + test_above)
        for (depth, shortcut), by_seed in errors.items()
        for seed, error in enumerate(by_seed)
    ]
