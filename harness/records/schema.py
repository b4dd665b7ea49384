"""What every file of a run and of a sweep holds: each column and each key, with a sentence and its unit.

The sole owner of column names (`harness.records.paths` is of file names). docs/reference.md is written from it. Errors are in
percent, norms are 2-norms accumulated in float64, losses are mean cross-entropies, times are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import paths
from harness.records.states import STATES
from harness.records.value_types import FLAG, NAME, NUMBER, SIZE, TEXT, WHOLE, Keys, Listed, Named, Schema, one_of, or_null

Sentences = Mapping[str, str]
"""Names in order, each with what it is."""
RUN_FILES: Sentences = {
    paths.CONFIG: "the choices, resolved: every key, but for those that say where and not what",
    paths.STATUS: "state, step, times, the text of an error, checksums",
    paths.STEPS: "one row a training step: loss and error of its batch, as trained on",
    paths.EPOCHS: "one row an epoch and an evaluation, with `start_from` also one before the first step: the batches since the "
    "last row, and the images without augmentation in evaluation mode (empty where not measured)",
    paths.probe_table("layers"): "with `probes=[layers]`: one row a probed step and weighted layer",
    paths.probe_table("blocks"): "with `probes=[blocks]`: one row a probed step and block (0 is the stem)",
    paths.probe_table("lesions"): "with `probes=[lesions]`: one row a block, after the last step: the test images in evaluation "
    "mode, that block's branch taken out",
    paths.GRADIENT_NORMS: "with `gradient_norms=every`: one vector a weighted layer, under its name and in forward order, "
    "of the norm of its gradient at every step (float32); too large to be part of a finding",
    paths.ENVIRONMENT: "what it ran on: versions, processor, threads, checksum of the data, git commit, command, time, memory",
    paths.LOG: "what was logged, tracebacks included",
    paths.WEIGHTS: "weights and running statistics at the end; none of a diverged run",
    paths.CHECKPOINT: "only of an unfinished run: the state from which it goes on",
}
"""The files of a run, RESULTS/runs/LABEL-HASH/."""
SWEEP_FILES: Sentences = {
    paths.SWEEP: "which runs were asked for, and by what command",
    paths.RUNS_TABLE: "one row a run: every key, then its results",
    paths.VERDICTS: "what is said of every claim in every setting, numbers in full",
    paths.FIGURES: "a folder: every figure as SVG and PNG",
    paths.REPORT_HTML: "the report, one file that asks for nothing from elsewhere",
    paths.REPORT_MARKDOWN: "the same report as Markdown, beside its figures",
    paths.REPORT_SUMMARY: "title and first figure of the report, for the page over all sweeps",
    paths.VERIFICATION: "only after `harness.verify`: what it found",
    paths.NOTES: "only of a finding, by hand: command, what was expected before the runs, what was seen, what went against it",
}
"""The files of a sweep, RESULTS/sweeps/LABEL-HASH/, and of a finding."""
_STEP = "updates made before"
_COUNTED = {"nonzero": "elements of that gradient that are not zero", "elements": "elements in all"}
_BLOCK = {
    "step": _STEP,
    "block": "number in forward order from 1; 0 is the stem",
    "name": "the block's module",
    "stage": "its stage, from 1; 0 for the stem",
}
COLUMNS: Mapping[str, Sentences] = {
    paths.STEPS: {
        "step": _STEP,
        "epoch": "passes through the training images finished before",
        "learning_rate": "of this step",
        "loss": "of the step's batch, in training mode, as trained on",
        "error": "of the step's batch (%)",
    },
    paths.EPOCHS: {
        "step": "updates made",
        "epoch": "passes through the training images finished",
        "learning_rate": "of the last step; empty before the first",
        "batch_loss": "mean over the batches since the last row, as trained on",
        "batch_error": "the same, of the error (%)",
        "train_loss": "of all training images, without augmentation, in evaluation mode; at milestones and the end",
        "train_error": "the same, of the error (%)",
        "test_loss": "of all test images, in evaluation mode; every `schedule.eval_every` steps, at milestones and the end",
        "test_error": "the same, of the error (%)",
        "holdout_loss": "of the training images held out by `data.split=holdout`, when the test images are",
        "holdout_error": "the same, of the error (%)",
        "seconds": "since the start of the run, pauses left out",
    },
    paths.probe_table("layers"): {
        "step": _STEP,
        "layer": "number in forward order from 1, as the papers count; empty for a projection or gate",
        "name": "the layer's module",
        "kind": "conv, linear, projection or gate",
        "grad_norm": "norm of the batch loss's gradient with respect to the weights, weight decay not included",
        "weight_norm": "norm of the weights before the update",
        "update_norm": "norm of what the update changed; empty at the end, which no update follows",
        **_COUNTED,
        "response_std": "standard deviation of the layer's response over batch, channels and positions: its output after the "
        "norm, before ReLU and addition",
    },
    paths.probe_table("blocks"): {
        **_BLOCK,
        "forward_norm": "norm of the block's output over the whole batch",
        "grad_norm": "norm of the batch loss's gradient with respect to that output",
        **_COUNTED,
    },
    paths.probe_table("lesions"): {
        **_BLOCK,
        "test_loss": "of all test images without the block's branch",
        "test_error": "the same, of the error (%)",
    },
}
"""Columns of every table of a run, in order."""
RESULTS: Sentences = {
    "status": "the state in which the run is",
    "train_error": "at the end (%); of a diverged run that of a guess",
    "test_error": "the same, on the test images",
    "batch_error": "mean over the batches of the last 50 steps, in training mode, as trained on (%)",
    "train_loss": "at the end; of a diverged run its last loss",
    "seconds": "time spent on the training, in all processes",
    "parameters": "numbers of the net that are trained",
    "run": "the run's folder",
}
"""Results of a run, columns of runs.csv after those of its keys."""
OPTIONAL_RESULTS: Sentences = {
    "holdout_error": "at the end (%), where images are held out",
    "warmup_end": "step from which the learning rate was the full one, of a warm-up until an error",
    "overflowed": "which evaluations at the end (train, test, holdout) were not finite: their errors are those of a guess",
}
"""Results that have a column where some run has them, after the errors."""
KEYS: Mapping[str, Sentences] = {
    paths.STATUS: {
        "state": "waiting, running, interrupted, done, diverged, failed or killed",
        "step": "updates made when this was written",
        "steps": "updates asked for",
        "started": "time of the first start (UTC)",
        "ended": "time of the end (UTC)",
        "seconds": "time spent on the training",
        "parameters": "numbers of the net that are trained",
        "loss": "of the last batch when this was written",
        "batch_error": "the same, of the error (%)",
        "warmup_end": "step from which the learning rate was the full one, of a warm-up until an error",
        "overflowed": "which of the last evaluations (train, test, holdout) were not finite: their errors are those of a guess",
        "resumed_from_step": "every step from which the run was taken up again",
        "resumed_elsewhere": "true where that was with another torch or processor",
        "error": "why it failed or was killed",
        "sha256": "checksum of every file of a finished run but its log",
    },
    paths.ENVIRONMENT: {
        "python": "version",
        "system": "operating system and architecture",
        "packages": "versions of this package and of those that numbers depend on",
        "torch": "PyTorch's build: CUDA, git commit, vector instructions in use",
        "cpu": "model of the processor",
        "gpu": "model of the GPU, null without one",
        "threads": "CPU threads of the run",
        "data_checksum": "SHA-256 of all images and labels, in order",
        "code": "git commit and whether files had changed; nulls where the code is no checkout",
        "command": "the command line, absolute paths left out",
        "runs_per_process": "runs that were interleaved in the process",
        "wall_seconds": "time spent on the training, pauses left out",
        "peak_memory": "largest memory of the process, and of the GPU if there is one (MiB)",
    },
    paths.SWEEP: {
        "experiment": "its name, or none",
        "command": "the command line, absolute paths left out",
        "runs": "names of the runs, in the order asked for",
    },
    paths.REPORT_SUMMARY: {
        "title": "title of the report",
        "figure": "path of its first figure within the folder; null if there is none",
    },
    paths.VERIFICATION: {
        "runs": "for each run that was checked: its name, the kind of check, whether it is the same, and what was found",
    },
}
"""Keys of the JSON files that hold one object; those of a status only where they apply."""
VERDICT: Sentences = {
    "claim": "its id",
    "sentence": "what is claimed",
    "source": "paper and place",
    "protocol": "paper or any",
    "verdict": "reproduced, contradicted, undecided, consistent, inconsistent or not run",
    "settings": "values of the keys in which the sweep's settings differ: one of what was judged, more of what lacks runs",
    "runs": "data, steps and seeds, in words",
    "parts": "each number: name, unit, value, interval (low, high), what is claimed (above, below), seeds, values by sample",
    "differs": "what is not as in the paper",
    "needed": "what is missing for a firm verdict, in words",
    "commands": "the commands of the runs that are expected to settle it",
}
"""Keys of each of the `verdicts` in verdicts.json; a number that is unknown or unbounded is null."""
SCHEMAS: Mapping[str, Schema] = {
    paths.STATUS: Keys(
        {"state": one_of(*STATES)},
        {
            **dict.fromkeys(("step", "steps", "parameters", "warmup_end"), WHOLE),
            **dict.fromkeys(("started", "ended", "error"), TEXT),
            **dict.fromkeys(("loss", "batch_error"), NUMBER),
            "seconds": SIZE,
            "overflowed": Listed(one_of("train", "test", "holdout")),
            "resumed_from_step": Listed(WHOLE),
            "resumed_elsewhere": FLAG,
            "sha256": Named(TEXT, NAME),
        },
    ),
    paths.ENVIRONMENT: Keys(
        {
            **dict.fromkeys(("python", "system", "cpu", "data_checksum"), TEXT),
            "packages": Named(or_null(TEXT), TEXT),
            "torch": Keys({name: or_null(TEXT) for name in ("cuda", "git", "cpu_capability")}),
            "gpu": or_null(TEXT),
            "threads": WHOLE,
            "code": Keys({"commit": or_null(TEXT), "dirty": or_null(FLAG)}),
        },
        {"command": TEXT, "runs_per_process": WHOLE, "wall_seconds": SIZE, "peak_memory": Named(SIZE, TEXT)},
    ),
    paths.SWEEP: Keys({"runs": Listed(NAME, least=1)}, {"experiment": TEXT, "command": TEXT}),
    paths.VERIFICATION: Keys(
        {"runs": Listed(Keys({"run": NAME, "kind": TEXT, "same": or_null(FLAG), "found": TEXT}))},
    ),
    paths.REPORT_SUMMARY: Keys({"title": TEXT, "figure": or_null(TEXT)}),
    paths.VERDICTS: Keys({"verdicts": Listed(Keys({"claim": TEXT, "verdict": TEXT}))}),
}
"""What the values of KEYS must be where they are read; `harness.config.run` declares those of a run's choices."""
TEXT_COLUMNS = ("name", "kind", "status", "run", "overflowed")
"""Columns that hold text, in whatever table; the others of COLUMNS hold numbers."""
WHOLE_COLUMNS = ("step", "block", "layer")
"""Columns of COLUMNS that say where a row belongs: whole numbers."""
OF_SOME_ROWS = ("layer",)
"""Those of them that a row may lack."""
NEVER_EMPTY = (paths.STEPS, paths.EPOCHS)
"""Tables that have a row, whatever became of the run."""
