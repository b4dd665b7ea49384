"""Nets that start from shallower ones: equal functions at first, the shallower run trained first, and refused combinations."""

import json
from dataclasses import replace

import pytest
import torch

import harness
from harness import run, verify
from harness.config.network import NetworkConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.models.blocks import Block, BlockSpec
from harness.models.build import build
from harness.models.identity_extension import extend, make_identity
from harness.records import paths, states
from harness.records.run import Run
from harness.training.train import train
from support.helpers import KEYS, tiny, tiny_schedule
from support.interruption import files, interrupt

EXTENSIBLE = [
    *({"shortcut": shortcut, "norm": norm} for shortcut in ("none", "identity", "projection") for norm in ("batch", "none")),
    {"block": "bottleneck", "depth": 20, "start_from": 11},
    {"family": "imagenet", "depth": 34, "start_from": 18, "shortcut": "none"},
    {"family": "imagenet", "depth": 101, "start_from": 50, "shortcut": "projection"},
]


@pytest.mark.parametrize("choices", EXTENSIBLE, ids=lambda choices: "-".join(map(str, choices.values())))
def test_an_extended_net_computes_what_the_shallower_one_does(choices):
    """In evaluation mode with trained running statistics; the tolerance is that of float32 after at most 96 added norms."""
    torch.manual_seed(0)
    config = RunConfig(**({"depth": 20, "start_from": 8, "width": 4} | choices))
    shallow, deep = build(config.shallower(), 3, 10), build(config, 3, 10)
    images = torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        for _ in range(3):
            shallow(images)
        extend(deep, shallow.state_dict())
        assert sum(p.numel() for p in deep.parameters()) > sum(p.numel() for p in shallow.parameters())
        expected, actual = (net.eval()(images) for net in (shallow, deep))
    assert torch.allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_in_training_mode_only_a_block_with_a_shortcut_can_be_the_identity(shortcut):
    torch.manual_seed(0)
    block, x = Block(NetworkConfig(20, shortcut=shortcut), BlockSpec(4, 4, 1)), 3 * torch.rand(8, 4, 5, 5)
    make_identity(block)
    with torch.no_grad():
        assert torch.equal(block(x), x) == (shortcut == "identity")  # batch normalisation removes mean and scale
        again = Block(NetworkConfig(20, shortcut=shortcut), BlockSpec(4, 4, 1))
        make_identity(again)
        assert torch.allclose(again.eval()(x), x, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"start_from": 56}, "start_from=56: must be a depth of the same kind below depth=20; nearest is 14"),
        ({"start_from": 20}, "nearest is 14"),
        ({"start_from": 9}, "nearest are 8 and 14"),
        ({"depth": 8, "start_from": 8}, "nearest is none"),
        ({"depth": 50, "family": "imagenet", "start_from": 18}, "below depth=50; nearest is none"),
        ({"depth": 34, "family": "imagenet", "start_from": 20}, "nearest is 18"),
        ({"depth": 22, "family": "densenet", "start_from": 16}, "none is the identity; nearest is none"),
        ({"start_from": 8, "order": "preactivation"}, "is for order=original, where a block's input is nowhere negative"),
        ({"start_from": 8, "shortcut": "scaling"}, "is for shortcut=none or identity or projection, not for shortcut=scaling"),
        ({"start_from": 8, "survival": 0.5}, "is for survival=1"),
        ({"start_from": 11, "block": "bottleneck", "shortcut": "none"}, "nearest is block=basic"),
        ({"start_from": 8, "norm": "none", "update_scaling": "layerwise"}, "nearest is update_scaling=none"),
        ({"start_from": "deep"}, "start_from=deep: must be a whole number of at least 1, or none"),
        ({"start_from": None}, "or none"),
        ({"start_from": True}, "or none"),
        ({"update_scaling": "global"}, "update_scaling=global: unknown; allowed: none, layerwise"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_the_nearest_valid_value(wrong, words):
    with pytest.raises(ChoiceError) as refused:
        RunConfig(**wrong)
    assert words in str(refused.value)


def test_the_shallower_run_differs_only_in_depth():
    config = tiny(depth=20, start_from=8, shortcut="none", seed=3, update_scaling="layerwise")
    assert config.shallower() == tiny(depth=8, shortcut="none", seed=3, update_scaling="layerwise")
    assert config.shallower().shallower() is None
    assert config.identity() != replace(config, start_from="none").identity() != replace(config, start_from=14).identity()
    assert config.run_name().startswith("digits-none-20-from8-seed3-")
    assert RunConfig.from_mapping(json.loads(json.dumps(config.choices()))) == config


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extension")
    train(CONFIG, folder)
    return folder


CONFIG = tiny(depth=14, start_from=8, shortcut="none", schedule=tiny_schedule(steps=6, eval_every=6))


def run_of(config, results):
    return Run(paths.run_folder(results, config.run_name()))


def test_the_first_evaluation_equals_the_last_of_the_shallower_run(results):
    deep, shallow = run_of(CONFIG, results), run_of(CONFIG.shallower(), results)
    first, last = deep.epochs.iloc[0], shallow.epochs.iloc[-1]
    assert first["step"] == 0
    for column in ("train_loss", "test_loss", "train_error", "test_error"):
        assert first[column] == pytest.approx(last[column], abs=1e-5)
    assert deep.epochs["step"].tolist() == [0, 3, 4, 6]
    assert first[["learning_rate", "batch_loss", "batch_error"]].isna().all()
    assert shallow.epochs["step"].tolist() == [3, 4, 6]
    assert deep.steps["loss"].iloc[0] != pytest.approx(shallow.steps["loss"].iloc[-1], rel=1e-3)  # other images, training mode


def test_it_resumes_from_every_step_with_the_same_bits(results, tmp_path, monkeypatch):
    """Including interruptions of the evaluation before the first step."""
    whole, steps = run_of(CONFIG, results), set()
    for count in range(0, 20, 2):
        folder = tmp_path / str(count)
        train(CONFIG.shallower(), folder)
        interrupt(CONFIG, folder, count, monkeypatch)
        steps.add(run_of(CONFIG, folder).status["step"])
        again = train(CONFIG, folder)
        assert files(again) == files(whole)
        assert again.epochs.drop(columns="seconds").equals(whole.epochs.drop(columns="seconds"))
    assert {0, 1, 5} <= steps


def test_verification_trains_the_run_that_it_starts_from(results, capsys):
    assert verify.main([str(run_of(CONFIG, results).folder)]) == 0
    assert "exact check: the same" in capsys.readouterr().out


def test_a_diverged_run_cannot_be_extended_and_the_error_says_so(tmp_path):
    wild = tiny(depth=26, start_from=20, norm="none", shortcut="none", schedule=tiny_schedule(learning_rate=1e6))
    with pytest.raises(
        harness.RunFailed, match=r"the run to start from, digits-none-20-seed0-\w+, has no weights: it is diverged"
    ):
        train(wild, tmp_path)
    assert run_of(wild.shallower(), tmp_path).state == states.DIVERGED


@pytest.mark.parametrize("launcher", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_a_sweep_adds_the_run_to_start_from_and_trains_it_first(launcher, tmp_path):
    """The same command is given twice; the second time all three runs are reused."""
    for _ in range(2):
        arguments = ["-m", f"launcher={launcher}", "depth=14", "start_from=none,8", *KEYS, f"results={tmp_path}"]
        assert run.main(arguments) == 0
        (sweep,) = (tmp_path / paths.SWEEPS).iterdir()
        names = json.loads((sweep / paths.SWEEP).read_text())["runs"]
        assert sorted("-".join(name.split("-")[2:-1]) for name in names) == ["14-from8-seed0", "14-seed0", "8-seed0"]
        assert {Run(tmp_path / paths.RUNS / name).state for name in names} == {"done"}
    assert "14-from8" in (sweep / paths.REPORT_MARKDOWN).read_text()
