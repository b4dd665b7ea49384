"""Training steps need no host transfers; windows and replays of CUDA graphs change no number."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.config.execution import ExecutionConfig
from harness.data.batches import Batches, Subset
from harness.data.datasets import Facts
from harness.models import introspection
from harness.models.blocks import Block
from harness.models.build import architecture
from harness.probes.base import probe_steps
from harness.records import states
from harness.training import step
from harness.training.step import WINDOW, Stepper
from harness.training.train import train
from support.helpers import tiny, tiny_schedule
from support.interruption import interrupt
from support.on_a_gpu import content, imitate_gpu

FACTS = Facts(train=100, test=10, channels=3, size=8, classes=10, padding=4, flip=True)


class NothingFromTheHost(TorchDispatchMode):
    """Fails on any operation on a CPU tensor: on a GPU it would synchronise, or every replay would use the same value."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [value for value in tree_leaves((args, kwargs or {})) if isinstance(value, torch.Tensor)]
        assert all(tensor.device.type == "meta" for tensor in tensors), f"{operation} on a tensor of the host"
        return operation(*args, **(kwargs or {}))


def stepper_on_meta(**choices):
    """Return a stepper on the meta device, which holds no values, so that any fetch fails."""
    config = tiny(**choices)
    with torch.device("meta"):
        model = architecture(config, FACTS.channels, FACTS.classes)
        labels = torch.zeros(FACTS.train, dtype=torch.int64)
        subset = Subset(torch.zeros((FACTS.train, 3, 8, 8), dtype=torch.uint8), labels, torch.zeros((3, 8, 8)), 1.0)
    stepper = Stepper(config, model, Batches(subset, FACTS, 32, 0, augment=True), introspection.layers(model))
    stepper.optimizer.step = lambda: None  # the fused optimizer needs a real device
    stepper.take(0.1)
    return stepper


def a_step_from_the_device_alone(stepper):
    with NothingFromTheHost():
        stepper._update(stepper.batch())
    assert stepper._results.shape == (WINDOW, 2 + len(stepper.watched))


@pytest.mark.parametrize(
    "choices",
    [
        {"shortcut": "none"},
        {"shortcut": "dropout"},
        {"shortcut": "exclusive_gate"},
        {"shortcut": "projection", "norm": "none"},
        {"survival": 0.5},
        {"update_scaling": "layerwise"},
        {"order": "preactivation"},
        {"family": "imagenet", "depth": 18},
        {"family": "densenet", "depth": 22, "shortcut": "concatenation", "width": "auto"},
    ],
    ids=str,
)
def test_a_step_takes_nothing_from_the_host_and_gives_it_nothing(choices):
    a_step_from_the_device_alone(stepper_on_meta(**choices))


@pytest.mark.parametrize(
    ("survives", "error"),
    [
        (lambda block, device: torch.bernoulli(torch.tensor(0.5)), AssertionError),  # the same draw in every replay
        (lambda block, device: float(torch.ones((), device=device)), RuntimeError),  # synchronises with the device
    ],
)
def test_that_test_can_fail(survives, error, monkeypatch):
    stepper = stepper_on_meta(survival=0.5)
    monkeypatch.setattr(Block, "_branch_weight", survives)
    with pytest.raises(error):
        a_step_from_the_device_alone(stepper)


LONG = tiny_schedule(steps=130, eval_every=60)
UNTIL = tiny_schedule(steps=90, milestones=(), warmup="until_error", warmup_learning_rate=0.02, warmup_max_steps=60)
WILD = tiny_schedule(steps=60, learning_rate=20.0)
CASES = {
    "norms": tiny(schedule=LONG, gradient_norms="every"),
    "random layers": tiny(schedule=LONG, shortcut="dropout", survival=0.5),
    "equal steps": tiny(schedule=LONG, update_scaling="layerwise", precision="bf16"),
    "warm-up by error": tiny(schedule=UNTIL),
    "diverging": tiny(schedule=WILD, norm="none", gradient_norms="every"),
}


@pytest.mark.parametrize("name", CASES)
def test_windows_and_replays_change_no_number(name, tmp_path, monkeypatch):
    config = CASES[name]
    plain = train(config, tmp_path / "plain")
    events = imitate_gpu(monkeypatch)
    windowed = train(config, tmp_path / "windowed")
    assert windowed.state == plain.state == (states.DIVERGED if name == "diverging" else states.DONE)
    assert content(windowed) == content(plain)
    assert events.count("recorded") == 1
    if name != "diverging":
        probed = len(probe_steps(config.schedule.steps)) - 1  # the last probe follows the last update
        assert events.count("replayed") == config.schedule.steps - probed
    else:
        assert len(plain.steps) % WINDOW  # divergence is detected at the end of its window


@pytest.mark.parametrize("looks", [4, 31, 49, 77])
def test_a_run_of_windows_and_replays_goes_on_to_the_same_bits(looks, tmp_path, monkeypatch):
    config = CASES["norms"]
    plain = train(config, tmp_path / "plain")
    events = imitate_gpu(monkeypatch)
    interrupt(config, tmp_path / "cut", looks, monkeypatch)
    assert content(train(config, tmp_path / "cut")) == content(plain)
    assert events.count("recorded") == (1 if looks < 11 else 2)  # again after resuming: a graph does not outlive its process


def test_what_cannot_be_recorded_is_launched_step_by_step_and_says_so(tmp_path, monkeypatch, caplog):
    events = imitate_gpu(monkeypatch)
    train(tiny(execution=ExecutionConfig(activation_checkpointing=True), schedule=LONG), tmp_path)
    assert not events
    assert caplog.text.count("cannot be recorded as a CUDA graph") == 1


def test_a_recording_that_fails_costs_no_run(tmp_path, monkeypatch, caplog):
    plain = train(CASES["norms"], tmp_path / "plain")
    imitate_gpu(monkeypatch)

    def record(launches):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step, "record_graph", record)
    assert content(train(CASES["norms"], tmp_path / "failing")) == content(plain)
    assert caplog.text.count("not permitted when stream is capturing") == 1
