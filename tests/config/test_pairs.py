"""Every pair of values of two keys either trains or is refused with a message that names one of the keys."""

from itertools import combinations

import pytest
import torch

import harness
from harness.config.registry import INIT, NORM, SHORTCUT, ChoiceError
from harness.config.run import RunConfig
from harness.models.build import build
from support.helpers import rarely

NETWORK = {
    "family": ["cifar", "imagenet", "densenet"],
    "depth": [8, 11, 18, 20, 22, 50],
    "block": ["auto", "basic", "bottleneck", "dense"],
    "shortcut": list(SHORTCUT.names),
    "norm": list(NORM.names),
    "init": list(INIT.names),
    "order": ["original", "bn_after_addition", "relu_before_addition", "relu_only_preactivation", "preactivation"],
    "bottleneck_stride": ["first", "middle"],
    "shortcut_scale": [0.5, 0.0, -1.0],
    "branch_scale": [0.5, 1.0],
    "gate_bias": [-6.0, 0.0],
    "shortcut_dropout": [0.5, 0.0],
    "survival": [1.0, 0.5],
    "growth": [12, 1],
    "width": ["auto", 1, 24],
    "activation_checkpointing": [False, True],
}
TRAINING = {
    "precision": ["fp32", "bf16"],
    "threads": [1, 2],
    "seed": [0, 7],
    "probes": [[], ["blocks"], ["layers"], ["lesions"]],
    "checkpoint_minutes": [2, 0],
    "runs_per_process": ["auto", 2],
    "observers": [["log"], []],
    "update_scaling": ["none", "layerwise"],
    "gradient_norms": ["probed", "every"],
    "start_from": ["none", 8, 56],
    "data.split": ["full", "holdout"],
    "data.augment": [True, False],
    "schedule.batch_size": [1, 8, 1294],
    "schedule.steps": [1, 2],
    "schedule.learning_rate": [0.01, 1e-30],
    "schedule.warmup": ["none", "steps", "linear", "until_error"],
    "optimizer": ["sgd", "adamw"],
    "lr_schedule": ["steps", "cosine"],
    "schedule.beta2": [0.999, 0.9],
    "schedule.momentum": [0.9, 0.0],
    "schedule.weight_decay": [1e-4, 0.0],
    "schedule.decay_norm": [True, False],
    "schedule.milestones": [None, [], [1]],
    "schedule.eval_every": [None, 1],
    "schedule.eval_images": [None, 10],
}
SMALLEST = {("cifar", "bottleneck"): 11, ("imagenet", "bottleneck"): 50, "cifar": 8, "imagenet": 18, "densenet": 10}


def pairs(table):
    """Yield {key: value, other key: value} for each pair of values of two different keys."""
    for (one, values), (other, others) in combinations(table.items(), 2):
        for value in values:
            for second in others:
                yield {one: value, other: second}


def complete(pair):
    """Return the choices of a small run with the pair's values; the others suit its family where possible."""
    family = pair.get("family", "cifar")
    choices = {"depth": SMALLEST.get((family, pair.get("block")), SMALLEST[family]), "device": "cpu"}
    choices |= {} if family == "densenet" else {"width": 2}
    schedule, data = {"steps": 3, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1}, {"name": "digits"}
    choices |= {"depth": 14} if pair.get("start_from") == 8 and family == "cifar" else {}
    for key, value in pair.items():
        group, _, name = key.rpartition(".")
        {"": choices, "schedule": schedule, "data": data}[group][name] = value
    return choices | {"schedule": schedule, "data": data}


def refusal(pair):
    """Return (config, None), or (None, message) if the pair is refused."""
    try:
        config = RunConfig.from_mapping(complete(pair))
        config.rules.check_images(config, 8, config.schedule.batch_size)
    except ChoiceError as error:
        return None, str(error)
    return config, None


def try_pair(pair, train):
    """Run a pair and return True; return False if it is refused, with a message that must name one of its keys."""
    config, words = refusal(pair)
    if config is None:
        assert any(f"{key}=" in words for key in pair), (pair, words)
        return False
    train(config)
    return True


def one_step(config):
    model = build(config, 1, 10)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.nn.functional.cross_entropy(model(torch.randn(4, 1, 8, 8)), torch.arange(4)).backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_every_pair_of_a_networks_keys_builds_and_steps_or_is_refused():
    torch.manual_seed(0)
    seen = set()

    def once(config):
        if config.identity() not in seen:
            seen.add(config.identity())
            one_step(config)

    outcomes = [try_pair(pair, once) for pair in pairs(NETWORK)]
    assert 0.3 < sum(outcomes) / len(outcomes) < 0.95


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("half", [0, *rarely(1)])
def test_every_pair_with_a_key_of_training_trains_or_is_refused(half, tmp_path):
    """Trains on digits with `harness.train`; the test above covers pairs of network keys."""
    every = [pair for pair in pairs(NETWORK | TRAINING) if not set(pair) <= set(NETWORK)][half::2]
    trained = 0
    for pair in every:

        def train(config):
            run = harness.train(config, tmp_path)
            assert run.state in ("done", "diverged")

        trained += try_pair(pair, train)
    assert trained > len(every) / 4


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({"block": "bottleneck", "depth": 44}, "or block=basic"),
        ({"shortcut": "none", "gate_bias": 0.0}, "leave gate_bias out, or take shortcut=exclusive_gate"),
        ({"family": "imagenet", "depth": 20}, "nearest are 18 and 34"),
        ({"shortcut": "none", "shortcut_scale": 0.0}, "leave shortcut_scale out, or take shortcut=scaling"),
        ({"start_from": 56, "seed": 7}, "below depth=8; nearest is none"),
        ({"start_from": 8, "shortcut": "dropout"}, "is for shortcut=none or identity or projection"),
        ({"family": "imagenet", "schedule.batch_size": 1}, "nearest is schedule.batch_size=2"),
    ],
)
def test_a_refusal_names_the_nearest_valid_choice(pair, words):
    assert words in refusal(pair)[1]
