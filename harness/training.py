"""One run: config, data and probes in; a run folder out.

The order of things in a step is the paper's (He et al. 2015, 4.2): cut and augment a batch, forward, backward, update.
Probes watch scheduled steps from outside; the loop knows none of them.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from harness import anatomy, environment, layout, records
from harness.choices import PROBE
from harness.config import RunConfig, ScheduleConfig
from harness.data.batches import Batch, Batches, Part, load
from harness.data.sources import check
from harness.devices import autocast, exactly, resolve
from harness.evaluate import BATCH, Evaluation, evaluate, wrong_answers
from harness.models.cifar import build
from harness.probes.probe import Context, Probe, Row, probe_steps
from harness.records import Run
from harness.schedule import WARMUP_WINDOW, fixed_warmup_end, learning_rate, warmup_fires

log = logging.getLogger("harness")

FLUSH = 50
"""Steps between two fetches of losses from the device; the results do not depend on it."""


class RunFailed(RuntimeError):
    """A run that ended in an error; the message holds it."""


def train(config: RunConfig, results: str | Path = "results") -> Run:
    """Train `config` and return its run, below `results`; a run that was done before is returned as it is.

    Raises ChoiceError before anything is written if the choices, the device or the data do not allow it, and
    RunFailed if the training ends in an error. A diverged run is a result.
    """
    config = resolve(config)
    check(config)
    run = records.create(config, Path(results))
    if run.finished():
        log.info("%s: done before, reused", run.name)
        return run
    carry_out(config, run, command="harness.train")
    if run.state == records.FAILED:
        raise RunFailed(run.status["error"])
    return run


def carry_out(config: RunConfig, run: Run, command: str) -> None:
    """Train into the run's folder; whatever Exception ends it is recorded there, not raised."""
    handler = logging.FileHandler(run.folder / layout.LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    started = time.monotonic()
    facts: dict[str, Any] = {"started": _now(), "step": 0, "steps": config.schedule.steps}
    try:
        with exactly(config):
            training = Training(config, run, facts)
            state = training.finish() if training.go() else training.diverge()
        about = environment.describe(training.device, int(config.threads), training.data.checksum, command)
        about |= {"wall_seconds": time.monotonic() - started, "peak_memory": environment.peak_memory(training.device)}
        records.write_json(run.folder / layout.ENVIRONMENT, about)
    except Exception as error:
        log.error("%s: failed\n%s", run.name, traceback.format_exc())
        state, facts["error"] = records.FAILED, f"{type(error).__name__}: {error}"
    finally:
        log.removeHandler(handler)
        handler.close()
    records.write_status(run, state, **facts, ended=_now(), seconds=time.monotonic() - started)


class Training:
    """The state of one training: net, optimiser, data, meter and the rows so far."""

    def __init__(self, config: RunConfig, run: Run, facts: dict[str, Any]) -> None:
        self.config, self.schedule, self.run, self.facts = config, config.schedule, run, facts
        self.device = torch.device(config.device)
        environment.reset_peak_memory(self.device)
        self.data = load(config.data, self.device)
        self.model = build(config, self.data.facts.channels, self.data.facts.classes).to(self.device)
        self.optimizer = make_optimizer(self.model, self.schedule)
        self.precision = autocast(config)
        self.batches = Batches(self.data.train, self.data.facts, self.schedule.batch_size, config.seed, config.data.augment)
        self.probes: dict[str, Probe] = {name: PROBE[name]() for name in config.probes}
        self.layers, self.blocks = anatomy.layers(self.model), anatomy.blocks(self.model)
        self.warmup_end = fixed_warmup_end(self.schedule)
        self.unread: list[tuple[int, float, Tensor, Tensor]] = []
        self.step_rows: list[Row] = []
        self.epoch_rows: list[Row] = []
        self.probe_rows: dict[str, list[Row]] = {name: [] for name in config.probes}
        self.started = time.monotonic()
        facts["parameters"] = sum(parameter.numel() for parameter in self.model.parameters())
        records.write_status(run, records.RUNNING, **facts)

    def go(self) -> bool:
        """Make all updates, with evaluations and probes at their steps; return False as soon as the loss is not finite."""
        probed, steps = set(probe_steps(self.schedule.steps)), self.schedule.steps
        evaluations, milestones = self._evaluation_steps(), {*self.schedule.milestone_steps(), steps}
        for step in range(steps):
            if self.warmup_end is None and not self._flush():
                return False
            self._end_warmup(step)
            batch = self.batches.at(step)
            with self._probed(step, batch) if step in probed else ExitStack():
                self._update(step, batch)
            done = step + 1
            if (done % FLUSH == 0 or done in evaluations) and not self._flush():
                return False
            if done in evaluations:
                self._evaluate(done, with_train=done in milestones)
        with self._buffers_kept(), self._probed(steps, self.batches.at(steps)) as batch:
            self._backward(batch)
        return True

    def finish(self) -> str:
        """Write the tables and weights of a run that went to its end; return its state."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        records.write_bytes(self.run.folder / layout.WEIGHTS, save(weights))
        self._write_tables()
        return records.DONE

    def diverge(self) -> str:
        """Write the tables of a run whose loss left the finite numbers: a result, with the error of a guess."""
        last, chance = self.step_rows[-1], self.data.facts.chance_error
        self.facts["step"] = last["step"]
        self.probe_rows = {name: [r for r in rows if r["step"] <= last["step"]] for name, rows in self.probe_rows.items()}
        errors = ["train_error", "test_error", *(["holdout_error"] if self.data.holdout else [])]
        self._add_epoch_row(last["step"], dict.fromkeys(errors, chance) | {"train_loss": last["loss"]})
        self._write_tables()
        log.info("%s: diverged at step %d (loss %s)", self.run.name, last["step"], last["loss"])
        return records.DIVERGED

    def _update(self, step: int, batch: Batch) -> None:
        rate = learning_rate(self.schedule, step, self.warmup_end)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, wrong = self._backward(batch)
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

    def _end_warmup(self, step: int) -> None:
        if self.warmup_end is None:
            errors = [row["error"] for row in self.step_rows[-WARMUP_WINDOW:]]
            if warmup_fires(self.schedule, step, errors):
                self.warmup_end = self.facts["warmup_end"] = step
                log.info("%s: warm-up ended at step %d", self.run.name, step)

    def _flush(self) -> bool:
        """Fetch what the last steps left on the device into rows; return whether every loss was finite."""
        if self.unread:
            values = torch.stack([torch.stack([loss.double(), wrong.double()]) for *_, loss, wrong in self.unread]).tolist()
            for (step, rate, *_), (loss, wrong) in zip(self.unread, values, strict=True):
                error = 100.0 * wrong / self.schedule.batch_size
                epoch = step // self.batches.per_epoch
                self.step_rows.append({"step": step, "epoch": epoch, "learning_rate": rate, "loss": loss, "error": error})
                if not math.isfinite(loss):
                    return False
            self.unread.clear()
        return True

    def _evaluation_steps(self) -> set[int]:
        every = self.schedule.eval_every or self.batches.per_epoch
        return {*range(every, self.schedule.steps + 1, every), *self.schedule.milestone_steps(), self.schedule.steps}

    def _evaluate(self, done: int, with_train: bool) -> None:
        parts = {"test": self.data.test, "holdout": self.data.holdout, "train": self.data.train if with_train else None}
        found = {name: self._evaluation(part) for name, part in parts.items() if part is not None}
        values = {f"{name}_error": one.error for name, one in found.items()}
        values |= {f"{name}_loss": one.loss for name, one in found.items()}
        row = self._add_epoch_row(done, values)
        log.info(
            "%s: step %d of %d, batch loss %.4g, batch error %.2f %%, test error %.2f %%, %.0f s",
            *(self.run.name, done, self.schedule.steps, row["batch_loss"], row["batch_error"]),
            *(row["test_error"], row["seconds"]),
        )
        self.facts["step"] = done
        records.write_status(self.run, records.RUNNING, **self.facts)

    def _evaluation(self, part: Part) -> Evaluation:
        return evaluate(self.model, part.in_order(BATCH), self.precision)

    def _add_epoch_row(self, done: int, values: dict[str, float]) -> Row:
        since = self.epoch_rows[-1]["step"] if self.epoch_rows else 0
        recent = self.step_rows[since:]
        row: Row = {
            "step": done,
            "epoch": done // self.batches.per_epoch,
            "learning_rate": recent[-1]["learning_rate"],
            "batch_loss": sum(r["loss"] for r in recent) / len(recent),
            "batch_error": sum(r["error"] for r in recent) / len(recent),
            **values,
            "seconds": time.monotonic() - self.started,
        }
        self.epoch_rows.append(row)
        return row

    @contextmanager
    def _probed(self, step: int, batch: Batch) -> Iterator[Batch]:
        context = Context(
            *(self.model, step, self.schedule.steps, batch.images, batch.labels, self.layers, self.blocks),
            evaluate=lambda: self._evaluation(self.data.test),
        )
        with ExitStack() as stack:
            found = {name: stack.enter_context(probe.watch(context)) for name, probe in self.probes.items()}
            yield batch
        for name, rows in found.items():
            self.probe_rows[name] += rows

    @contextmanager
    def _buffers_kept(self) -> Iterator[None]:
        """Undo what a pass in training mode does to the running statistics."""
        kept = [buffer.clone() for buffer in self.model.buffers()]
        yield
        for buffer, before in zip(self.model.buffers(), kept, strict=True):
            buffer.copy_(before)

    def _write_tables(self) -> None:
        tables = {layout.STEPS: self.step_rows, layout.EPOCHS: self.epoch_rows}
        tables |= {layout.probe_table(name): rows for name, rows in self.probe_rows.items()}
        for name, content in tables.items():
            records.write_table(self.run.folder / name, records.rows(name, content))


def make_optimizer(model: nn.Module, schedule: ScheduleConfig) -> torch.optim.SGD:
    """Return SGD with momentum; weight decay on every parameter, or with decay_norm=false on weights of layers alone."""
    parameters = list(model.parameters())
    free = [] if schedule.decay_norm else [parameter for parameter in parameters if parameter.ndim < 2]
    decayed = [parameter for parameter in parameters if all(parameter is not other for other in free)]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}]
    if free:
        groups.append({"params": free, "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum, fused=True)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
