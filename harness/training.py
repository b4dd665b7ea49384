"""One training: config, data and probes in, rows and weights out.

The order of things in a step is the paper's (He et al. 2015, 4.2): cut and augment a batch, forward, backward, update.
Probes watch scheduled steps from outside; the loop knows none of them. A training may be left after any step and taken up
again from its checkpoint, with the same bits in the end.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from harness import anatomy, checkpoint, environment, layout, records
from harness.choices import PROBE
from harness.config import RunConfig, ScheduleConfig, UpdateScaling
from harness.data.batches import Batch, Batches, Part, load
from harness.devices import autocast
from harness.evaluate import Evaluation, batch_size, evaluate, wrong_answers
from harness.models.build import build
from harness.models.extension import extend, trained_weights
from harness.probes.probe import Context, Probe, probe_steps, settle
from harness.records import Run
from harness.rows import Rows
from harness.scaling import equal_steps
from harness.schedule import WARMUP_WINDOW, fixed_warmup_end, learning_rate, warmup_fires
from harness.stopping import Stop
from harness.streams import stream_seed

log = logging.getLogger("harness")

FLUSH = 50
"""Steps between two fetches of losses from a GPU; the results do not depend on it."""


class Left(Exception):
    """The wish to stop, met in the middle of an evaluation."""


class Training:
    """The state of one training: net, optimiser, data and the rows so far; `step` updates have been made.

    `facts` are what status.json says beside the state; they are kept up to date. `stop` asks to leave early.
    """

    def __init__(self, config: RunConfig, run: Run, facts: dict[str, Any], stop: Stop) -> None:
        self.config, self.schedule, self.run, self.facts, self.stop = config, config.schedule, run, facts, stop
        self.device = torch.device(config.device)
        environment.reset_peak_memory(self.device)
        torch.manual_seed(stream_seed(config.seed, "layers"))
        self.data = load(config.data, self.device)
        self.model = build(config, self.data.facts.channels, self.data.facts.classes).to(self.device)
        if (shallower := config.shallower()) is not None:
            extend(self.model, trained_weights(Run(run.folder.with_name(shallower.run_name()))))
        self.optimizer = make_optimizer(self.model, self.schedule)
        self.precision = autocast(config)
        self.batches = Batches(self.data.train, self.data.facts, self.schedule.batch_size, config.seed, config.data.augment)
        self.probes: dict[str, Probe] = {name: PROBE[name]() for name in config.probes}
        self.layers, self.blocks = anatomy.layers(self.model), anatomy.blocks(self.model)
        self.warmup_end = fixed_warmup_end(self.schedule)
        self.rows = Rows(probes={name: [] for name in config.probes})
        self.unread: list[tuple[int, float, Tensor, Tensor]] = []
        self.flush_every = 1 if self.device.type == "cpu" else FLUSH
        self.step, self.seconds_before = 0, 0.0
        self.evaluating = False
        self.started = self.saved = self.told = time.monotonic()
        facts["parameters"] = sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def seconds(self) -> float:
        """Time spent on this training, in this process and before."""
        return self.seconds_before + time.monotonic() - self.started

    def go(self) -> str:
        """Train on from where it stands; return the state in which it ended: done, diverged or interrupted."""
        try:
            return self._go()
        except Left:
            self.save()
            return records.INTERRUPTED

    def _go(self) -> str:
        steps, probed = self.schedule.steps, set(probe_steps(self.schedule.steps))
        epochs, evaluations = set(range(0, steps + 1, self.batches.per_epoch)), self._evaluation_steps()
        if self.step == 0 and self.config.start_from != "none":
            self._evaluate_start()
        elif self.evaluating:
            self._end_epoch(self.step, self.step in evaluations)
        for step in range(self.step, steps):
            self.advance(step in probed)
            done = self.step
            leave = done < steps and bool(self.stop)
            save = leave or (done < steps and time.monotonic() - self.saved > 60 * self.config.checkpoint_minutes)
            if not (save or done in epochs | evaluations or done % self.flush_every == 0 or self.warmup_end is None):
                continue
            if not self.flush():
                return self._diverge(self.rows.steps[-1]["step"], self.rows.steps[-1]["loss"])
            if done in epochs | evaluations:
                self._end_epoch(done, done in evaluations)
            self._tell()
            if save:
                self.save()
            if leave:
                return records.INTERRUPTED
        with self._buffers_kept(), self._probed(steps, self.batches.at(steps)) as batch:
            loss = float(self._backward(batch)[0])
        return self._finish() if math.isfinite(loss) else self._diverge(steps, loss)

    def advance(self, probed: bool) -> None:
        """Take one step: cut the batch, augment it, forward, backward, update; with `probed` inside the probes."""
        step, batch = self.step, self.batches.at(self.step)
        self._end_warmup(step)
        with self._probed(step, batch) if probed else ExitStack():
            self._update(step, batch)
        self.step = step + 1

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
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        self.facts["step"] = self.step
        checkpoint.save(self.run.folder / layout.CHECKPOINT, state)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Take up the training from its checkpoint; raises RecordError if that is damaged."""
        state = checkpoint.load(self.run.folder / layout.CHECKPOINT)
        self.step, self.warmup_end, self.seconds_before = state["step"], state["warmup_end"], state["seconds"]
        self.evaluating = state["evaluating"]
        self.facts |= state["facts"] | {"step": self.step}
        self.facts["resumed_from_step"] = [*self.facts.get("resumed_from_step", []), self.step]
        if state["machine"] != self._machine():
            self.facts["resumed_elsewhere"] = True
            log.warning("%s: was begun with another torch or processor; its bits are those of neither alone", self.run.name)
        self.rows = Rows.from_state(state["rows"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        log.info("%s: goes on from step %d", self.run.name, self.step)

    def _machine(self) -> dict[str, Any]:
        return environment.describe_machine(self.device, int(self.config.threads))

    def _finish(self) -> str:
        """Write the tables and weights of a run that went to its end."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        records.write_bytes(self.run.folder / layout.WEIGHTS, save(weights))
        self.rows.write(self.run.folder)
        self.facts["step"] = self.step
        return records.DONE

    def _diverge(self, step: int, loss: float) -> str:
        """Write the tables of a run whose loss left the finite numbers: a result, with the error of a guess."""
        self.rows.cut(step)
        errors = ["train_error", "test_error", *(["holdout_error"] if self.data.holdout else [])]
        values = dict.fromkeys(errors, self.data.facts.chance_error) | {"train_loss": loss}
        self.rows.add_epoch(step, self.batches.per_epoch, values, self.seconds)
        self.rows.write(self.run.folder)
        self.facts["step"] = step
        log.info("%s: diverged at step %d (loss %s)", self.run.name, step, loss)
        return records.DIVERGED

    def _update(self, step: int, batch: Batch) -> None:
        rate = learning_rate(self.schedule, step, self.warmup_end)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, wrong = self._backward(batch)
        with self._scaled():
            self.optimizer.step()
        self.unread.append((step, rate, loss, wrong))

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return loss and number of wrong answers on the batch, as they were trained on, gradients set."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision:
            logits = self.model(batch.images)
        loss = functional.cross_entropy(logits.float(), batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), wrong_answers(logits.detach(), batch.labels)

    def _scaled(self) -> AbstractContextManager[None]:
        layerwise = self.config.update_scaling is UpdateScaling.layerwise
        return equal_steps(self.model.parameters()) if layerwise else nullcontext()

    def _end_warmup(self, step: int) -> None:
        if self.warmup_end is None:
            errors = [row["error"] for row in self.rows.steps[-WARMUP_WINDOW:]]
            if warmup_fires(self.schedule, step, errors):
                self.warmup_end = self.facts["warmup_end"] = step
                log.info("%s: warm-up ended at step %d", self.run.name, step)

    def flush(self) -> bool:
        """Fetch what the last steps left on the device into rows; return whether every loss was finite."""
        values = torch.stack([torch.stack([loss.double(), wrong.double()]) for *_, loss, wrong in self.unread]).tolist()
        for (step, rate, *_), (loss, wrong) in zip(self.unread, values, strict=True):
            error = 100.0 * wrong / self.schedule.batch_size
            epoch = step // self.batches.per_epoch
            self.rows.steps.append({"step": step, "epoch": epoch, "learning_rate": rate, "loss": loss, "error": error})
            if not math.isfinite(loss):
                return False
        self.unread.clear()
        return True

    def _evaluation_steps(self) -> set[int]:
        every = self.schedule.eval_every or self.batches.per_epoch
        return {*range(every, self.schedule.steps + 1, every), *self.schedule.milestone_steps(), self.schedule.steps}

    def _evaluate_start(self) -> None:
        """Add a row of step 0: what the net that was made deeper finds before its first update."""
        self.evaluating, self.rows.epochs = True, []
        row = self.rows.add_start(self._measured(with_train=True), self.seconds)
        self.evaluating = False
        log.info("%s: before the first step, training error %.2f %%", self.run.name, row["train_error"])

    def _measured(self, with_train: bool) -> dict[str, float]:
        """Return loss and error on the images that are no training images and, if asked for, on those."""
        parts = {"test": self.data.test, "holdout": self.data.holdout, "train": self.data.train if with_train else None}
        found = {name: self._evaluation(part) for name, part in parts.items() if part is not None}
        values = {f"{name}_error": one.error for name, one in found.items()}
        return values | {f"{name}_loss": one.loss for name, one in found.items()}

    def _end_epoch(self, done: int, evaluated: bool) -> None:
        """Add a row to the epochs: with the test error where it is measured, with the training error at the milestones."""
        self.evaluating = True
        with_train = done in {*self.schedule.milestone_steps(), self.schedule.steps}
        values = self._measured(with_train) if evaluated else {}
        row = self.rows.add_epoch(done, self.batches.per_epoch, values, self.seconds)
        self.evaluating = False
        test = f", test error {row['test_error']:.2f} %" if evaluated else ""
        log.info(
            "%s: step %d of %d, batch loss %.4g, batch error %.2f %%%s, %.0f s",
            *(self.run.name, done, self.schedule.steps, row["batch_loss"], row["batch_error"], test, row["seconds"]),
        )

    def _tell(self) -> None:
        """Say in status.json how far the training is, once a second."""
        if time.monotonic() - self.told > 1.0:
            last = self.rows.steps[-1]
            self.facts |= {"step": self.step, "loss": last["loss"], "batch_error": last["error"], "seconds": self.seconds}
            records.write_status(self.run, records.RUNNING, durable=False, **self.facts)
            self.told = time.monotonic()

    def _evaluation(self, part: Part) -> Evaluation:
        batches = part.in_order(batch_size(self.data.facts.size))
        return evaluate(self.model, self._unless_stopped(batches), self.precision)

    def _unless_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.evaluating and self.stop:
                raise Left
            yield batch

    @contextmanager
    def _probed(self, step: int, batch: Batch) -> Iterator[Batch]:
        context = Context(
            *(self.model, step, self.schedule.steps, batch.images, batch.labels, self.layers, self.blocks),
            evaluate=lambda: self._evaluation(self.data.test),
        )
        with ExitStack() as stack:
            found = {name: stack.enter_context(probe.watch(context)) for name, probe in self.probes.items()}
            yield batch
        settle([row for rows in found.values() for row in rows])
        for name, rows in found.items():
            self.rows.probes[name] += rows

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """Undo what a pass in training mode does to the running statistics."""
        kept = [buffer.clone() for buffer in self.model.buffers()]
        yield
        for buffer, before in zip(self.model.buffers(), kept, strict=True):
            buffer.copy_(before)


def make_optimizer(model: nn.Module, schedule: ScheduleConfig) -> torch.optim.SGD:
    """Return SGD with momentum; weight decay on every parameter, or with decay_norm=false on weights of layers alone."""
    parameters = list(model.parameters())
    free = [] if schedule.decay_norm else [parameter for parameter in parameters if parameter.ndim < 2]
    decayed = [parameter for parameter in parameters if all(parameter is not other for other in free)]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, fused=True)
