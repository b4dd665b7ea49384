"""The columns and keys of every file of a run and of a sweep, with descriptions and units; docs/reference.md shows them.

Errors are in percent, norms are 2-norms accumulated in float64, losses are mean cross-entropies, times are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import paths
from harness.records.states import STATES
from harness.records.value_types import (
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    SIZE,
    TEXT,
    WHOLE,
    ListOf,
    MapOf,
    Object,
    Schema,
    any_of,
    one_of,
    or_null,
)

Sentences = Mapping[str, str]
"""Names in order, each with its description."""
RUN_FILES: Sentences = {
    paths.CONFIG: "every resolved choice, except those that only determine where and how the run is computed; the `format` of "
    "the record",
    paths.STATUS: "state, step, times, error message, checksums",
    paths.STEPS: "one row per training step: loss and error of its batch, in training mode",
    paths.EPOCHS: "one row per epoch and per evaluation, with `start_from` also one before the first step: means over the "
    "batches since the previous row, and results of evaluations (empty if not measured)",
    paths.probe_table("layers"): "with `probes=[layers]`: one row per probed step and weighted layer",
    paths.probe_table("blocks"): "with `probes=[blocks]`: one row per probed step and block (0 is the stem)",
    paths.probe_table("lesions"): "with `probes=[lesions]`: one row per block: evaluation on the test images without that "
    "block's branch, after the last step",
    paths.GRADIENT_NORMS: "with `gradient_norms=every`: one vector for each weighted layer, with the norm of its gradient at "
    "every step (float32); by name and in forward order; too large for a finding",
    paths.ENVIRONMENT: "versions, processor, threads, checksum of the data, git commit, command, time, memory",
    paths.LOG: "the log, with tracebacks",
    paths.WEIGHTS: "weights and running statistics at the end; absent if the run diverged",
    paths.EXECUTION: "only of a run that has not ended: where and how it is computed, for the process that trains it",
    paths.CHECKPOINT: "only in an unfinished run: the state from which it resumes",
}
"""The files of a run, RESULTS/runs/LABEL-HASH/."""
SWEEP_FILES: Sentences = {
    paths.SWEEP: "the requested runs, and the command",
    paths.RUNS_TABLE: "one row per run: every key, then its results",
    paths.VERDICTS: "the verdict on every claim in every setting, with unrounded numbers",
    paths.FIGURES: "a folder: every figure as SVG and PNG",
    paths.REPORT_HTML: "the report, a self-contained file",
    paths.REPORT_MARKDOWN: "the same report as Markdown, beside its figures",
    paths.REPORT_SUMMARY: "title and first figure of the report, for the index of all sweeps",
    paths.VERIFICATION: "only after `harness.verify`: its results",
    paths.NOTES: "only in a finding, written by hand: command, what was expected, what was seen, what went against expectation",
}
"""The files of a sweep, RESULTS/sweeps/LABEL-HASH/, and of a finding."""
_FORMAT = "version of the record's format; absent from records of format 1"
_STEP = "number of updates completed"
_COUNTED = {"nonzero": "number of nonzero elements of that gradient", "elements": "number of its elements"}
_BLOCK = {
    "step": _STEP,
    "block": "number in forward order from 1; 0 is the stem",
    "name": "name of the block's module",
    "stage": "number of its stage from 1; 0 for the stem",
}
COLUMNS: Mapping[str, Sentences] = {
    paths.STEPS: {
        "step": _STEP,
        "epoch": "number of epochs completed",
        "learning_rate": "of this step",
        "loss": "of the step's batch, in training mode",
        "error": "of the step's batch (%)",
    },
    paths.EPOCHS: {
        "step": _STEP,
        "epoch": "number of epochs completed",
        "learning_rate": "of the last step; empty before the first",
        "batch_loss": "mean over the batches since the previous row, in training mode",
        "batch_error": "the same for the error (%)",
        "train_loss": "of all training images, without augmentation, in evaluation mode; at milestones and at the end",
        "train_error": "the same for the error (%)",
        "test_loss": "of all test images, in evaluation mode; every `schedule.eval_every` steps, at milestones and at the end",
        "test_error": "the same for the error (%)",
        "holdout_loss": "of the training images held out by `data.split=holdout`; measured at the same steps as `test_loss`",
        "holdout_error": "the same for the error (%)",
        "seconds": "since the start of the run, without pauses",
    },
    paths.probe_table("layers"): {
        "step": _STEP,
        "layer": "number in forward order from 1, as the papers count; empty for a projection or gate",
        "name": "name of the layer's module",
        "kind": "conv, linear, projection or gate",
        "grad_norm": "norm of the gradient of the batch loss with respect to the weights, without weight decay",
        "weight_norm": "norm of the weights before the update",
        "update_norm": "norm of the change made by the update; empty at the end, where no update follows",
        **_COUNTED,
        "response_std": "standard deviation of the layer's response over batch, channels and positions: its output after the "
        "norm, before ReLU and addition",
    },
    paths.probe_table("blocks"): {
        **_BLOCK,
        "forward_norm": "norm of the block's output over the whole batch",
        "grad_norm": "norm of the gradient of the batch loss with respect to that output",
        **_COUNTED,
    },
    paths.probe_table("lesions"): {
        **_BLOCK,
        "test_loss": "of all test images, without the block's branch",
        "test_error": "the same for the error (%)",
    },
}
"""Columns of every table of a run, in order."""
RESULTS: Sentences = {
    "status": "state of the run",
    "train_error": "at the end (%); the error of chance if the run diverged",
    "test_error": "the same, on the test images",
    "batch_error": "mean over the batches of the last 50 steps, in training mode (%)",
    "train_loss": "at the end; the last loss if the run diverged",
    "seconds": "time spent on the training, in all processes",
    "parameters": "number of trainable parameters",
    "run": "name of the run's folder",
}
"""Results of a run: the columns of runs.csv after those of its keys."""
OPTIONAL_RESULTS: Sentences = {
    "holdout_error": "at the end (%), if images are held out",
    "warmup_end": "step at which a warm-up with `schedule.warmup=until_error` ended",
    "overflowed": "evaluations at the end (train, test, holdout) that were not finite; their errors are those of chance",
}
"""Results whose columns follow the errors, and exist only if a run has a value."""
_KEYS: Mapping[str, Mapping[str, tuple[Schema, str]]] = {
    paths.STATUS: {
        "format": (WHOLE, _FORMAT),
        "state": (one_of(*STATES), "waiting, running, interrupted, done, diverged, failed or killed"),
        "step": (WHOLE, "number of updates completed when this was written"),
        "steps": (WHOLE, "number of updates requested"),
        "started": (TEXT, "time of the first start (UTC)"),
        "ended": (TEXT, "time of the end (UTC)"),
        "seconds": (SIZE, "time spent on the training"),
        "parameters": (WHOLE, "number of trainable parameters"),
        "loss": (NUMBER, "of the last batch when this was written"),
        "batch_error": (NUMBER, "the same for the error (%)"),
        "warmup_end": (WHOLE, "step at which a warm-up with `schedule.warmup=until_error` ended"),
        "overflowed": (
            ListOf(one_of("train", "test", "holdout")),
            "the last evaluations (train, test, holdout) that were not finite; their errors are those of chance",
        ),
        "resumed_from_step": (ListOf(WHOLE), "every step at which the run was resumed"),
        "resumed_elsewhere": (FLAG, "true if the run was resumed with another version of torch or on another processor"),
        "error": (TEXT, "reason why the run failed or was killed"),
        "sha256": (MapOf(TEXT, NAME), "checksum of every file of a finished run except its log"),
    },
    paths.ENVIRONMENT: {
        "format": (WHOLE, _FORMAT),
        "python": (TEXT, "version"),
        "system": (TEXT, "operating system and architecture"),
        "packages": (MapOf(or_null(TEXT), TEXT), "versions of this package and of those that results depend on"),
        "torch": (
            Object(dict.fromkeys(("cuda", "git", "cpu_capability"), or_null(TEXT))),
            "build of PyTorch: CUDA, git commit, vector instructions in use",
        ),
        "cpu": (TEXT, "model of the processor"),
        "gpu": (or_null(TEXT), "model of the GPU; null if there is none"),
        "threads": (WHOLE, "CPU threads of the run"),
        "data_checksum": (TEXT, "SHA-256 of all images and labels, in order"),
        "code": (
            Object({"commit": or_null(TEXT), "dirty": or_null(FLAG)}),
            "git commit, and whether files had changes; null if the code is not a checkout",
        ),
        "command": (TEXT, "command line, without absolute paths"),
        "runs_per_process": (WHOLE, "number of runs interleaved in the process"),
        "wall_seconds": (SIZE, "time spent on the training, without pauses"),
        "peak_memory": (MapOf(SIZE, TEXT), "peak memory of the process, and of the GPU if there is one (MiB)"),
    },
    paths.SWEEP: {
        "experiment": (TEXT, "name of the experiment, or none"),
        "command": (TEXT, "command line, without absolute paths"),
        "runs": (ListOf(NAME, least=1), "names of the runs, in the requested order"),
        "search": (
            Object({"objective": TEXT, "sampler": TEXT, "seed": WHOLE, "batch": COUNT, "optuna": TEXT}),
            "only of `harness.search`: objective (a result, minimised), sampler with its seed, number of trials that run at a "
            "time, version of Optuna",
        ),
        "trials": (
            ListOf(
                Object(
                    {
                        "number": WHOLE,
                        "run": or_null(NAME),
                        "parameters": MapOf(any_of(TEXT, NUMBER), TEXT),
                        "value": or_null(NUMBER),
                        "state": TEXT,
                    }
                )
            ),
            "only of `harness.search`: every trial with its run (null if its choices were refused), the searched keys, the value "
            "of the objective (null without one), and Optuna's state: RUNNING, COMPLETE or FAIL",
        ),
    },
    paths.REPORT_SUMMARY: {
        "title": (TEXT, "title of the report"),
        "figure": (or_null(TEXT), "path of its first figure within the folder; null if there is none"),
    },
    paths.VERIFICATION: {
        "runs": (
            ListOf(Object({"run": NAME, "kind": TEXT, "same": or_null(FLAG), "found": TEXT})),
            "for each checked run: its name, the kind of check, whether the results are the same, and a description",
        ),
    },
}
_OPTIONAL_KEYS = {
    paths.STATUS: _KEYS[paths.STATUS].keys() - {"state"},
    paths.ENVIRONMENT: {"format", "command", "runs_per_process", "wall_seconds", "peak_memory"},
    paths.SWEEP: {"experiment", "command", "search", "trials"},
}
KEYS: Mapping[str, Sentences] = {file: {key: text for key, (_, text) in keys.items()} for file, keys in _KEYS.items()}
"""Keys of the JSON files that hold one object. status.json has only the keys that apply to the run."""
VERDICT: Sentences = {
    "claim": "id of the claim",
    "sentence": "the claim",
    "source": "paper, and place in the paper",
    "protocol": "paper or any",
    "verdict": "reproduced, contradicted, undecided, consistent, inconsistent or not run",
    "settings": "values of the keys in which settings differ: one setting if it was judged, several if their runs are missing",
    "runs": "data, steps and seeds, in words",
    "parts": "each statistic: name, unit, value, interval (low, high), claimed range (above, below), seeds, values by sample",
    "differs": "differences from the paper",
    "needed": "what a firm verdict needs, in words",
    "commands": "commands of the runs that a firm verdict needs",
}
"""Keys of each element of `verdicts` in verdicts.json. Unknown and unbounded numbers are null."""
SCHEMAS: Mapping[str, Schema] = {
    **{
        file: Object({key: schema for key, (schema, _) in keys.items()}, _OPTIONAL_KEYS.get(file, ()))
        for file, keys in _KEYS.items()
    },
    paths.VERDICTS: Object({"verdicts": ListOf(Object({"claim": TEXT, "verdict": TEXT}))}),
}
"""Schemas of the JSON files, except config.json: its schema is that of `harness.config.run.RunConfig`."""
TEXT_COLUMNS = ("name", "kind", "status", "run", "overflowed")
"""Columns that hold text, in any table; the other columns of COLUMNS hold numbers."""
WHOLE_COLUMNS = ("step", "block", "layer")
"""Columns that hold whole numbers."""
GAPPED_COLUMNS = ("layer",)
"""Whole-number columns that may have empty cells."""
NEVER_EMPTY = (paths.STEPS, paths.EPOCHS)
"""Tables that have at least one row in a finished run."""
