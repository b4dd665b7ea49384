"""Train one network: config, data and probes in, rows and weights out.

The order within a step is that of He et al. 2015, section 4.2: cut and augment a batch, forward, backward, update. Probes watch
scheduled steps from outside; the loop knows none of them. Results are bit-identical if the training is interrupted after any step
and resumed from its checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from harness.config.registry import PROBE
from harness.config.run import GradientNorms, RunConfig
from harness.config.seeds import stream_seed
from harness.data.batches import Batch, Batches, Subset, load
from harness.models import introspection
from harness.models.build import build
from harness.models.evaluation import Evaluation, batch_size, estimate_norms, evaluate
from harness.models.identity_extension import extend, trained_weights
from harness.probes.base import Context, Probe, fetch_scalars, probe_steps
from harness.records import paths, states, writer
from harness.records.run import Run, write_status
from harness.system.cores import threads_here
from harness.system.signals import Stop
from harness.training import checkpoint, environment
from harness.training.lr_schedule import WARMUP_WINDOW, evaluation_due, fixed_warmup_end, learning_rate, warmup_ends
from harness.training.observers import Observers
from harness.training.recorder import Recorder
from harness.training.step import Stepper

log = logging.getLogger("harness")


class StopRequested(Exception):
    """Raised in the middle of an evaluation after a stop request."""


class Training:
    """The state of one training: network, optimizer, data and the rows recorded so far.

    Args:
        config: the run, with device and precision resolved.
        run: the folder into which tables, weights and checkpoints are written.
        facts: keys of status.json beside the state; updated during the training.
        stop: a stop request, checked after every step and within evaluations.
    """

    def __init__(self, config: RunConfig, run: Run, facts: dict[str, Any], stop: Stop) -> None:
        self.config, self.schedule, self.run, self.facts, self.stop = config, config.schedule, run, facts, stop
        self.device = torch.device(config.torch_device)
        environment.reset_peak_memory(self.device)
        self.data = load(config.located_data(), self.device)
        self.model = build(config, self.data.facts.channels, self.data.facts.classes, self.data.facts.size).to(self.device)
        if (shallower := config.shallower()) is not None:
            extend(self.model, trained_weights(Run(run.folder.with_name(shallower.run_name()))))
        torch.manual_seed(stream_seed(config.seed, "layers"))  # for layers that draw random numbers in training, on a GPU too
        self.batches = Batches(self.data.train, self.data.facts, self.schedule.batch_size, config.seed, config.data.augment)
        self.observers = Observers(config.execution)
        self.probes: dict[str, Probe] = {name: PROBE[name]() for name in config.probes}
        self.layers, self.blocks = introspection.layers(self.model), introspection.blocks(self.model)
        self.warmup_end = fixed_warmup_end(self.schedule)
        watched = self.layers if config.gradient_norms is GradientNorms.every else []
        self.recorder = Recorder(probes={name: [] for name in config.probes}, layers=[layer.name for layer in watched])
        self.stepper, self.per_epoch = Stepper(config, self.model, self.batches, watched), self.batches.per_epoch
        self.unread: list[tuple[int, float]] = []  # step and learning rate of steps whose losses are still on the device
        self.evaluating = False  # whether an epoch's evaluation has begun, but its row is not recorded
        self.started = self.saved = self.reported = time.monotonic()
        facts["parameters"] = sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def seconds(self) -> float:
        """Time spent on this training, in all processes."""
        return time.monotonic() - self.started

    @property
    def step(self) -> int:
        """Number of updates completed, on a GPU launched."""
        return self.stepper.step

    @cached_property
    def machine(self) -> dict[str, Any]:
        """The machine and software, as in environment.json."""
        return environment.describe_machine(self.device, threads_here(self.config.threads))

    def train(self) -> Generator[None, None, str]:
        """Train from the current step; return the final state: done, diverged or interrupted.

        Yields whenever it has launched as many steps as it may before the host must wait for them.
        """
        self.recorder.write(self.run.folder, so_far=True)
        self.observers.call("start", self.run, self.config, self.step)
        try:
            return (yield from self._train())
        except StopRequested:
            self.save()
            return states.INTERRUPTED

    def _train(self) -> Generator[None, None, str]:
        steps, probed = self.schedule.steps, set(probe_steps(self.schedule.steps))
        if self.step == 0 and self.config.start_from != "none":
            self._end_epoch(evaluate=True)
        elif self.evaluating:
            self._end_epoch(evaluation_due(self.schedule, self.per_epoch, self.step))
        while self.step < steps:
            self.advance(self.step in probed)
            evaluate = evaluation_due(self.schedule, self.per_epoch, self.step)
            epoch_ends = evaluate or self.step % self.per_epoch == 0
            stop = self.step < steps and bool(self.stop)
            save = stop or (self.step < steps and time.monotonic() - self.saved > 60 * self.config.execution.checkpoint_minutes)
            if not (save or epoch_ends or self.stepper.full or self.warmup_end is None):
                continue
            yield
            if not self.flush():
                return self._diverge(self.recorder.steps[-1]["step"], self.recorder.steps[-1]["loss"])
            if epoch_ends:
                self._end_epoch(evaluate)
            self._report_progress()
            if save:
                self.save()
            if stop:
                return states.INTERRUPTED
        return self._finish()

    def advance(self, probed: bool) -> None:
        """Take one step, on a GPU launch it; if `probed`, the probes watch it."""
        if self.warmup_end is None:
            errors = [row["error"] for row in self.recorder.steps[-WARMUP_WINDOW:]]
            if warmup_ends(self.schedule, self.step, errors):
                self.warmup_end = self.facts["warmup_end"] = self.step
                log.info("%s: warm-up ended at step %d", self.run.name, self.step)
        rate = learning_rate(self.config, self.step, self.warmup_end)
        self.unread.append((self.step, rate))
        self.stepper.take(rate, self._probed if probed else None)

    def save(self) -> None:
        """Write the checkpoint: everything that the rest of the training depends on, and the rows so far, also as tables."""
        self.run.check_owned()
        self.facts["step"] = self.step
        state = {
            "step": self.step,
            "warmup_end": self.warmup_end,
            "evaluating": self.evaluating,
            "seconds": self.seconds,
            "facts": self.facts,
            "machine": self.machine,
            "rows": self.recorder.state(),
            "gradient_norms": torch.from_numpy(self.recorder.joined_norms()),
            "model": self.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        checkpoint.save(self.run.folder / paths.CHECKPOINT, state)
        self.recorder.write(self.run.folder, so_far=True)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Restore the state of the checkpoint. Raises RecordError if the file is damaged."""
        state = checkpoint.load(self.run.folder / paths.CHECKPOINT)
        self.warmup_end, self.evaluating = state["warmup_end"], state["evaluating"]
        self.started -= state["seconds"]
        self.facts |= state["facts"]
        self.facts["resumed_from_step"] = [*self.facts.get("resumed_from_step", []), state["step"]]
        if state["machine"] != self.machine:
            self.facts["resumed_elsewhere"] = True
            log.warning("%s: begun with another torch or processor; its numbers can differ from those of both", self.run.name)
        self.recorder.load_state(state["rows"], state["gradient_norms"].numpy())
        self.model.load_state_dict(state["model"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.set_step(state["step"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        log.info("%s: resumed at step %d", self.run.name, self.step)

    def _finish(self) -> str:
        """Measure the trained network in a last pass without an update, then write weights and tables; return the final state."""
        self.batches.prepare(self.step)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        with self._probed(self.stepper.batch()) as batch:
            loss = float(self.stepper.backward(batch)[0])
        for buffer, value in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(value)  # the pass in training mode has changed the running statistics
        if not math.isfinite(loss):
            return self._diverge(self.step, loss)
        self.run.check_owned()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        writer.write_bytes(self.run.folder / paths.WEIGHTS, save(weights))
        self.recorder.write(self.run.folder)
        self.facts["step"] = self.step
        return states.DONE

    def _diverge(self, step: int, loss: float) -> str:
        """Write the tables of a run whose loss is not finite at `step`; its final errors are those of chance."""
        self.recorder.drop_after_divergence(step)
        self.facts.pop("overflowed", None)
        errors = ["train_error", "test_error", *(["holdout_error"] if self.data.holdout else [])]
        values = dict.fromkeys(errors, self.data.facts.chance_error) | {"train_loss": loss}
        self.recorder.add_epoch(step, self.per_epoch, values, self.seconds)
        self.run.check_owned()
        self.recorder.write(self.run.folder)
        self.facts["step"] = step
        log.info("%s: diverged at step %d (loss %s)", self.run.name, step, loss)
        return states.DIVERGED

    def flush(self) -> bool:
        """Fetch the results of the last steps from the device into rows; return whether every loss was finite.

        Must be called before the next step if `stepper.full`.
        """
        values = self.stepper.read()
        if self.recorder.layers:
            self.recorder.norms.append(values[:, 2:].astype(np.float32))
        for (step, rate), (loss, wrong) in zip(self.unread, values[:, :2].tolist(), strict=True):
            row = {"step": step, "epoch": step // self.per_epoch, "learning_rate": rate}
            self.recorder.steps.append({**row, "loss": loss, "error": 100.0 * wrong / self.schedule.batch_size})
            if not math.isfinite(loss):
                return False
        self.observers.call("rows", "steps", self.recorder.steps[-len(self.unread) :])
        self.unread.clear()
        return True

    def _end_epoch(self, evaluate: bool) -> None:
        """Add a row to the epochs. The training images are evaluated only at the start, at milestones and at the end."""
        self.evaluating = True
        with_train = self.step in {0, *self.schedule.milestone_steps(), self.schedule.steps}
        values = self._evaluate_all(with_train) if evaluate else {}
        row = self.recorder.add_epoch(self.step, self.per_epoch, values, self.seconds)
        self.evaluating = False
        self.observers.call("evaluation", row | {"overflowed": self.facts.get("overflowed", [])})

    def _evaluate_all(self, with_train: bool) -> dict[str, float]:
        """Return loss and error on the test, held-out and, if `with_train`, training images.

        `facts["overflowed"]` names the subsets whose evaluation is not finite.
        """
        if self.schedule.precise_norm is not None:  # on the batches of the last steps, or of the first if there were fewer
            count = math.ceil(self.schedule.precise_norm / self.schedule.batch_size)
            first = max(0, self.step - count)
            batches = (self.batches.at(step) for step in range(first, first + count))
            estimate_norms(self.model, self._unless_stopped(batches), self.stepper.precision)
        subsets = {"test": self.data.test, "holdout": self.data.holdout, "train": self.data.train if with_train else None}
        evaluations = {name: self.evaluate(subset) for name, subset in subsets.items() if subset is not None}
        self.facts.pop("overflowed", None)
        if overflowed := [name for name, evaluation in evaluations.items() if not evaluation.finite]:
            self.facts["overflowed"] = overflowed
        errors = {f"{name}_error": evaluation.error for name, evaluation in evaluations.items()}
        return errors | {f"{name}_loss": evaluation.loss for name, evaluation in evaluations.items()}

    def evaluate(self, subset: Subset) -> Evaluation:
        """Return the evaluation on a subset's images; if it is not finite, the error of chance and no loss."""
        batches = subset.sample(self.schedule.eval_images).in_batches(batch_size(self.data.facts.size))
        evaluation = evaluate(self.model, self._unless_stopped(batches), self.stepper.precision)
        return evaluation if evaluation.finite else Evaluation(math.nan, self.data.facts.chance_error)

    def _unless_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.evaluating and self.stop:
                raise StopRequested
            yield batch

    def _report_progress(self) -> None:
        """Write the progress to status.json, at most once a second."""
        if time.monotonic() - self.reported > 1.0:
            last = self.recorder.steps[-1]
            self.facts |= {"step": self.step, "loss": last["loss"], "batch_error": last["error"], "seconds": self.seconds}
            write_status(self.run, states.RUNNING, durable=False, **self.facts)
            self.reported = time.monotonic()

    @contextmanager
    def _probed(self, batch: Batch) -> Iterator[Batch]:
        """Let the probes watch the step within the block, and record their rows."""
        context = Context(
            *(self.model, self.step, self.schedule.steps, batch.images, batch.labels, self.layers, self.blocks),
            evaluate=lambda: self.evaluate(self.data.test),
        )
        with ExitStack() as stack:
            tables = {name: stack.enter_context(probe.watch(context)) for name, probe in self.probes.items()}
            yield batch
        fetch_scalars([row for rows in tables.values() for row in rows])
        for name, rows in tables.items():
            self.recorder.probes[name] += rows
            self.observers.call("rows", name, rows)
