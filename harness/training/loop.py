"""One training: config, data and probes in, rows and weights out.

The order of things in a step is the paper's (He et al. 2015, 4.2): cut and augment a batch, forward, backward, update.
Probes watch scheduled steps from outside; the loop knows none of them. A training may be left after any step and taken up
again from its checkpoint, with the same bits in the end.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from harness.config.registry import PROBE
from harness.config.run import GradientNorms, RunConfig
from harness.config.seeds import stream_seed
from harness.data.batches import Batch, Batches, Part, load
from harness.models import introspection
from harness.models.build import build
from harness.models.evaluation import Evaluation, batch_size, estimate_norms, evaluate
from harness.models.identity_extension import extend, trained_weights
from harness.probes.base import Context, Probe, probe_steps, settle
from harness.records import paths, states, writer
from harness.records.run import Run, write_status
from harness.system.cores import threads_here
from harness.system.signals import Stop
from harness.training import checkpoint, environment
from harness.training.lr_schedule import WARMUP_WINDOW, evaluated, fixed_warmup_end, learning_rate, warmup_fires
from harness.training.observers import Observers
from harness.training.recorder import Rows
from harness.training.step import Stepper

log = logging.getLogger("harness")


class StopRequested(Exception):
    """Raised in the middle of an evaluation when this process was asked to stop."""


class Training:
    """The state of one training: net, optimiser, data and the rows so far; `step` updates have been made.

    `facts` are what status.json says beside the state; they are kept up to date. `stop` asks to leave early.
    """

    def __init__(self, config: RunConfig, run: Run, facts: dict[str, Any], stop: Stop) -> None:
        self.config, self.schedule, self.run, self.facts, self.stop = config, config.schedule, run, facts, stop
        self.device = torch.device(config.torch_device)
        environment.reset_peak_memory(self.device)
        self.data = load(config.located_data(), self.device)
        self.model = build(config, self.data.facts.channels, self.data.facts.classes, self.data.facts.size).to(self.device)
        if (shallower := config.shallower()) is not None:
            extend(self.model, trained_weights(Run(run.folder.with_name(shallower.run_name()))))
        torch.manual_seed(stream_seed(config.seed, "layers"))  # for what layers draw as they train, on a GPU as well
        self.batches = Batches(self.data.train, self.data.facts, self.schedule.batch_size, config.seed, config.data.augment)
        self.observers = Observers(config.execution.observers)
        self.probes: dict[str, Probe] = {name: PROBE[name]() for name in config.probes}
        self.layers, self.blocks = introspection.layers(self.model), introspection.blocks(self.model)
        self.warmup_end = fixed_warmup_end(self.schedule)
        watched = self.layers if config.gradient_norms is GradientNorms.every else []
        self.rows = Rows(probes={name: [] for name in config.probes}, layers=[layer.name for layer in watched])
        self.stepper, self.per_epoch = Stepper(config, self.model, self.batches, watched), self.batches.per_epoch
        self.unread: list[tuple[int, float]] = []
        self.seconds_before = 0.0
        self.evaluating = False
        self.started = self.saved = self.told = time.monotonic()
        facts["parameters"] = sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def seconds(self) -> float:
        """Time spent on this training, in this process and before."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def step(self) -> int:
        """Updates made, or at least launched."""
        return self.stepper.step

    def go(self) -> Generator[None, None, str]:
        """Train on from where it stands; return the state in which it ended: done, diverged or interrupted.

        It gives way whenever it has launched as many steps as it may before the host must wait for them.
        """
        self.observers.call("start", self.run, self.config, self.step)
        try:
            return (yield from self._go())
        except StopRequested:
            self.save()
            return states.INTERRUPTED

    def _go(self) -> Generator[None, None, str]:
        steps, probed = self.schedule.steps, set(probe_steps(self.schedule.steps))
        if self.step == 0 and self.config.start_from != "none":
            self._evaluate_start()
        elif self.evaluating:
            self._end_epoch(self.step, self._evaluated(self.step))
        for step in range(self.step, steps):
            self.advance(step in probed)
            done = self.step
            evaluated = self._evaluated(done)
            row = evaluated or done % self.per_epoch == 0
            leave = done < steps and bool(self.stop)
            save = leave or (done < steps and time.monotonic() - self.saved > 60 * self.config.execution.checkpoint_minutes)
            if not (save or row or self.stepper.full or self.warmup_end is None):
                continue
            yield
            if not self.flush():
                return self._diverge(self.rows.steps[-1]["step"], self.rows.steps[-1]["loss"])
            if row:
                self._end_epoch(done, evaluated)
            self._tell()
            if save:
                self.save()
            if leave:
                return states.INTERRUPTED
        self.batches.prepare(steps)
        with self._buffers_kept(), self._probed(self.stepper.batch()) as batch:
            loss = float(self.stepper.backward(batch)[0])
        return self._finish() if math.isfinite(loss) else self._diverge(steps, loss)

    def advance(self, probed: bool) -> None:
        """Take one step, on a GPU launch it: cut and augment a batch, forward, backward, update; with `probed` inside probes."""
        self._end_warmup(self.step)
        rate = learning_rate(self.config, self.step, self.warmup_end)
        self.unread.append((self.step, rate))
        self.stepper.take(rate, self._probed if probed else None)

    def save(self) -> None:
        """Write the checkpoint: everything that the rest of the training depends on, and the rows so far."""
        state = {
            "step": self.step,
            "warmup_end": self.warmup_end,
            "evaluating": self.evaluating,
            "seconds": self.seconds,
            "facts": self.facts,
            "machine": self._machine(),
            "rows": self.rows.state(),
            "gradient_norms": torch.from_numpy(self.rows.joined_norms()),
            "model": self.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        self.facts["step"] = self.step
        checkpoint.save(self.run.folder / paths.CHECKPOINT, state)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Take up the training from its checkpoint; raises RecordError if that is damaged."""
        state = checkpoint.load(self.run.folder / paths.CHECKPOINT)
        self.warmup_end, self.seconds_before, self.evaluating = state["warmup_end"], state["seconds"], state["evaluating"]
        self.facts |= state["facts"] | {"step": state["step"]}
        self.facts["resumed_from_step"] = [*self.facts.get("resumed_from_step", []), state["step"]]
        if state["machine"] != self._machine():
            self.facts["resumed_elsewhere"] = True
            log.warning("%s: was begun with another torch or processor; its bits are those of neither alone", self.run.name)
        self.rows.take_up(state["rows"], state["gradient_norms"].numpy())
        self.model.load_state_dict(state["model"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.begin(state["step"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        log.info("%s: goes on from step %d", self.run.name, self.step)

    def _machine(self) -> dict[str, Any]:
        return environment.describe_machine(self.device, threads_here(self.config.threads))

    def _finish(self) -> str:
        """Write the tables and weights of a run that went to its end."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        writer.write_bytes(self.run.folder / paths.WEIGHTS, save(weights))
        self.rows.write(self.run.folder)
        self.facts["step"] = self.step
        return states.DONE

    def _diverge(self, step: int, loss: float) -> str:
        """Write the tables of a run whose loss left the finite numbers: a result, with the error of a guess."""
        self.rows.cut(step)
        self.facts.pop("overflowed", None)
        errors = ["train_error", "test_error", *(["holdout_error"] if self.data.holdout else [])]
        values = dict.fromkeys(errors, self.data.facts.chance_error) | {"train_loss": loss}
        self.rows.add_epoch(step, self.per_epoch, values, self.seconds)
        self.rows.write(self.run.folder)
        self.facts["step"] = step
        log.info("%s: diverged at step %d (loss %s)", self.run.name, step, loss)
        return states.DIVERGED

    def _end_warmup(self, step: int) -> None:
        if self.warmup_end is None:
            errors = [row["error"] for row in self.rows.steps[-WARMUP_WINDOW:]]
            if warmup_fires(self.schedule, step, errors):
                self.warmup_end = self.facts["warmup_end"] = step
                log.info("%s: warm-up ended at step %d", self.run.name, step)

    def flush(self) -> bool:
        """Fetch what the last steps left on the device into rows; return whether every loss was finite.

        It is due before the next step where `stepper.full`.
        """
        values = self.stepper.read()
        if self.rows.layers:
            self.rows.norms.append(values[:, 2:].astype(np.float32))
        for (step, rate), (loss, wrong) in zip(self.unread, values[:, :2].tolist(), strict=True):
            error = 100.0 * wrong / self.schedule.batch_size
            epoch = step // self.per_epoch
            self.rows.steps.append({"step": step, "epoch": epoch, "learning_rate": rate, "loss": loss, "error": error})
            if not math.isfinite(loss):
                return False
        self.observers.call("rows", "steps", self.rows.steps[-len(self.unread) :])
        self.unread.clear()
        return True

    def _evaluated(self, step: int) -> bool:
        return evaluated(self.schedule, self.per_epoch, step)

    def _evaluate_start(self) -> None:
        """Add a row of step 0: what the net that was made deeper finds before its first update."""
        self.evaluating, self.rows.epochs = True, []
        row = self.rows.add_start(self._measured(with_train=True), self.seconds)
        self.evaluating = False
        self._observe_evaluation(row)

    def _measured(self, with_train: bool) -> dict[str, float]:
        """Return loss and error on the images that are no training images and, if asked for, on those.

        The parts whose evaluation is not finite stay in `facts`: they have the error of a guess.
        """
        if self.schedule.precise_norm is not None:
            estimate_norms(self.model, self._unless_stopped(self._recent(self.schedule.precise_norm)), self.stepper.precision)
        parts = {"test": self.data.test, "holdout": self.data.holdout, "train": self.data.train if with_train else None}
        found = {name: self._evaluation(part) for name, part in parts.items() if part is not None}
        self.facts.pop("overflowed", None)
        if overflowed := [name for name, one in found.items() if not one.finite]:
            self.facts["overflowed"] = overflowed
        values = {f"{name}_error": one.error for name, one in found.items()}
        return values | {f"{name}_loss": one.loss for name, one in found.items()}

    def _recent(self, images: int) -> Iterator[Batch]:
        """Yield the batches of the last steps, of so many images at least; of the first ones before there were so many."""
        count = -(-images // self.schedule.batch_size)
        first = max(0, self.step - count)
        return (self.batches.at(step) for step in range(first, first + count))

    def _end_epoch(self, done: int, evaluated: bool) -> None:
        """Add a row to the epochs: with the test error where it is measured, with the training error at the milestones."""
        self.evaluating = True
        with_train = done in {*self.schedule.milestone_steps(), self.schedule.steps}
        values = self._measured(with_train) if evaluated else {}
        row = self.rows.add_epoch(done, self.per_epoch, values, self.seconds)
        self.evaluating = False
        self._observe_evaluation(row)

    def _observe_evaluation(self, row: dict[str, Any]) -> None:
        self.observers.call("evaluation", row | {"overflowed": self.facts.get("overflowed", [])})

    def _tell(self) -> None:
        """Say in status.json how far the training is, once a second."""
        if time.monotonic() - self.told > 1.0:
            last = self.rows.steps[-1]
            self.facts |= {"step": self.step, "loss": last["loss"], "batch_error": last["error"], "seconds": self.seconds}
            write_status(self.run, states.RUNNING, durable=False, **self.facts)
            self.told = time.monotonic()

    def _evaluation(self, part: Part) -> Evaluation:
        """Return the evaluation on a part's images; with the error of a guess, and no loss, where it is not finite."""
        batches = part.some(self.schedule.eval_images).in_order(batch_size(self.data.facts.size))
        found = evaluate(self.model, self._unless_stopped(batches), self.stepper.precision)
        return found if found.finite else Evaluation(math.nan, self.data.facts.chance_error)

    def _unless_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.evaluating and self.stop:
                raise StopRequested
            yield batch

    @contextmanager
    def _probed(self, batch: Batch) -> Iterator[Batch]:
        context = Context(
            *(self.model, self.step, self.schedule.steps, batch.images, batch.labels, self.layers, self.blocks),
            evaluate=lambda: self._evaluation(self.data.test),
        )
        with ExitStack() as stack:
            found = {name: stack.enter_context(probe.watch(context)) for name, probe in self.probes.items()}
            yield batch
        settle([row for rows in found.values() for row in rows])
        for name, rows in found.items():
            self.rows.probes[name] += rows
            self.observers.call("rows", name, rows)

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """Undo what a pass in training mode does to the running statistics."""
        kept = [buffer.clone() for buffer in self.model.buffers()]
        yield
        for buffer, before in zip(self.model.buffers(), kept, strict=True):
            buffer.copy_(before)
