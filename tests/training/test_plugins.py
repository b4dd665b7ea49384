"""Each registry extended by a plugin of ten lines with its own keys, through the real command."""

import json
import sys

import pytest
import torch

import experiments
from harness import describe, report, run
from harness.config.data import DataConfig
from harness.config.execution import ExecutionConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.records.run import Run
from harness.training.lr_schedule import fixed_warmup_end, learning_rate
from harness.training.optimizer import make_optimizer
from harness.training.train import train
from support.helpers import KEYS, tiny, tiny_schedule
from support.interruption import interrupt

OPTIMIZER = """
import torch
from harness.config.registry import OPTIMIZER, add_key
add_key("nesterov", default=True)
@OPTIMIZER.register("nesterov_sgd", "SGD with Nesterov's momentum, or without")
def nesterov_sgd(groups, config):
    schedule = config.schedule
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=0.9, nesterov=config.plugin["nesterov"])
"""
SCHEDULE = """
from harness.config.registry import LR_SCHEDULE
@LR_SCHEDULE.register("halving", "half the rate in the second half")
def halving(schedule, step, warmup_end):
    return schedule.learning_rate * (1.0 if step < schedule.steps // 2 else 0.5)
"""
OBSERVER = """
from pathlib import Path
from harness.config.registry import OBSERVER
from harness.training.observers import Observer
@OBSERVER.register("diary", "a line for each thing that an observer sees")
class Diary(Observer):
    def start(self, run, config, step):
        self.file = (run.folder.parent.parent / "diary.txt").open("a")
        print("start", step, file=self.file)
    def rows(self, table, rows):
        print(table, len(rows), file=self.file)
    def evaluation(self, row):
        print("evaluation", row["step"], file=self.file)
    def end(self, state):
        print("end", state, file=self.file, flush=True)
"""
CLAIM = """
from matplotlib.figure import Figure
from experiments import register
from harness import plots
from harness.analysis import stats
from harness.analysis.verdicts import below
from harness.claims.claim import Claim, Evidence, Experiment, Protocol, Statistic
def draw(frame, x):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(frame[x], frame["train_loss"], "o")
    yield figure
def find(setting):
    losses = setting.values("train_loss")
    return Evidence(Statistic("loss", stats.mean(list(losses.values())), below(1e9), {"all": losses}))
LOSSES = plots.Picture("losses", "Losses", "Training loss at the end.", plots.FINISHED, draw)
CLAIM = Claim(id="X1", source="nobody", sentence="A loss is finite.", rule="mean loss below 1e9", protocol=Protocol.ANY,
              keys=("depth",), needs=({"depth": (8,)},), find=find)
register(Experiment("Is the loss finite?", (LOSSES,), (CLAIM,)))
"""
FAMILY = """
from torch import nn
from harness.config.registry import FAMILY
class Perceptron(nn.Module):
    def __init__(self, config, channels, classes, side):
        super().__init__()
        sizes = [channels * side**2] + [config.width] * (config.depth - 1)
        self.hidden = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in zip(sizes, sizes[1:]))
        self.head = nn.Linear(sizes[-1], classes)
        self.block_names = [f"hidden.{number}" for number in range(len(self.hidden))]
    def forward(self, x):
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)
    keys = ("width",)
FAMILY.register("perceptron", "a multilayer perceptron of `depth` layers, each of `width` units")(Perceptron)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that writes a plugin, runs the command with it and returns its run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def train_with(name, text, *keys):
        (tmp_path / f"{name}.py").write_text(text)
        assert run.main([f"plugins=[{name}]", *(key for key in KEYS if not key.startswith("width")), *keys]) == 0
        (folder,) = (tmp_path / "results" / "runs").iterdir()
        return Run(folder)

    return train_with


def test_an_optimizer_with_a_key_of_its_own(plugin):
    trained = plugin("my_optimizer", OPTIMIZER, "depth=8", "width=4", "optimizer=nesterov_sgd", "plugin.nesterov=false")
    assert trained.config["plugin"] == {"nesterov": False}
    plain = tiny(plugins=("my_optimizer",), optimizer="nesterov_sgd", plugin={"nesterov": False})
    assert trained.name == plain.run_name() != tiny(plugins=("my_optimizer",), optimizer="nesterov_sgd").run_name()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("plugin.nesterof=true", "did you mean plugin.nesterov?"),
        ("plugin.nesterov=3", "must be of the type of its default, True"),
        ("optimizer=sdg", "did you mean sgd?"),
    ],
)
def test_a_wrong_key_of_a_plugin_is_refused(key, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_optimizer.py").write_text(OPTIMIZER)
    assert run.main(["plugins=[my_optimizer]", key]) == 2
    assert why in capsys.readouterr().err


def test_without_its_plugin_a_key_is_unknown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run.main(["plugin.nothing=1"]) == 2
    assert "plugin.nothing" in capsys.readouterr().err


def test_a_learning_rate_schedule(plugin):
    trained = plugin("my_schedule", SCHEDULE, "depth=8", "width=4", "lr_schedule=halving")
    assert trained.steps["learning_rate"].tolist() == [0.02] * 6 + [0.01] * 6


def test_an_observer_sees_start_rows_evaluations_and_end_and_changes_no_number(plugin, tmp_path):
    trained = plugin("my_observer", OBSERVER, "depth=8", "width=4", "observers=[log,diary]")
    lines = (tmp_path / "results" / "diary.txt").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("start 0", "end done")
    assert [line for line in lines if line.startswith("evaluation")] == ["evaluation 6", "evaluation 9", "evaluation 12"]
    assert lines.count("steps 1") == 12
    assert sum(line.startswith("layers ") for line in lines) == 12  # steps 0 to 10 and the end
    assert trained.name == tiny(plugins=("my_observer",)).run_name()


def test_an_observer_that_fails_is_dropped_and_the_run_goes_on(plugin):
    trained = plugin(
        "bad_observer",
        OBSERVER.replace("diary", "bad").replace("print(table", "1 / 0; print(table"),
        "depth=8",
        "observers=[bad]",
    )
    assert trained.state == "done"
    assert "observers=bad: rows failed (ZeroDivisionError: division by zero); dropped" in (trained.folder / "log.txt").read_text()


def test_a_figure_and_a_claim(plugin, tmp_path, monkeypatch):
    trained = plugin("my_claim", CLAIM, "depth=8", "width=4")
    (sweep,) = (tmp_path / "results" / "sweeps").iterdir()
    verdicts = {row["claim"]: row["verdict"] for row in json.loads((sweep / "verdicts.json").read_text())["verdicts"]}
    assert verdicts["X1"] in ("undecided", "reproduced", "consistent")
    assert (sweep / "figures" / "losses.png").is_file()
    text = (sweep / "report.md").read_text()
    assert "A loss is finite." in text
    assert trained.name in text
    (tmp_path / "my_claim.py").unlink()  # without the plugin the report is built without them
    monkeypatch.delitem(sys.modules, "my_claim")
    monkeypatch.delitem(experiments._of_plugins, "my_claim")
    assert report.main([str(sweep)]) == 0
    assert "X1" not in (sweep / "report.md").read_text()


def test_a_family_is_trained_probed_drawn_and_described(plugin, tmp_path, capsys):
    trained = plugin("my_family", FAMILY, "family=perceptron", "depth=4", "width=16")
    weights = 64 * 16 + 16 * 16 * 2 + 16 * 10
    assert trained.status["parameters"] == weights + 3 * 16 + 10
    assert trained.layers["name"].unique().tolist() == ["hidden.0.0", "hidden.1.0", "hidden.2.0", "head"]
    assert trained.blocks["block"].unique().tolist() == [1, 2, 3]
    (sweep,) = (tmp_path / "results" / "sweeps").iterdir()
    assert report.main([str(sweep)]) == 0
    assert {"error", "gradients"} <= {path.stem.partition("-")[0] for path in (sweep / "figures").iterdir()}
    keys = ["plugins=[my_family]", "family=perceptron", "depth=4", "width=16", "image_size=8", "channels=1"]
    assert describe.main([*keys, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["parameters"] == weights + 3 * 16 + 10


RULES = (
    FAMILY
    + """
from dataclasses import dataclass
from harness.config.families import FamilyRules
from harness.config.registry import ChoiceError

@dataclass(frozen=True, kw_only=True)
class EvenDepths(FamilyRules):
    def resolve(self, config):
        if config.depth % 2:
            raise ChoiceError(f"depth={config.depth}: this family has even depths; nearest is {config.depth + 1}")
        return {"width": 8 if config.width == "auto" else config.width}

Perceptron.rules = EvenDepths(keys=("width",), images=(1, 8, 10))
"""
)


def test_a_family_with_rules_resolves_keys_and_refuses_depths(plugin, tmp_path, capsys):
    trained = plugin("ruled_family", RULES.replace('"perceptron"', '"ruled"'), "family=ruled", "depth=4", "width=auto")
    assert trained.name.startswith("digits-ruled-4-seed0-")  # a family without shortcuts has none in its runs' names
    assert trained.config["width"] == 8
    assert run.main(["plugins=[ruled_family]", "family=ruled", "depth=5", "width=8"]) == 2
    assert "depth=5: this family has even depths; nearest is 6" in capsys.readouterr().err
    assert describe.main(["plugins=[ruled_family]", "family=ruled", "depth=4", "width=8", "--json"]) == 0
    parameters = 64 * 8 + 8 + 2 * (8 * 8 + 8) + 8 * 10 + 10  # for images of 1x8x8 in 10 classes, as its rules say
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["parameters"] == parameters


def test_a_family_refuses_keys_that_it_does_not_use(plugin, tmp_path, capsys):
    (tmp_path / "my_family.py").write_text(FAMILY)
    refused = ["shortcut=none", "order=preactivation", "survival=0.5", "start_from=2", "activation_checkpointing=true", "depth=0"]
    for key in refused:
        assert run.main(["plugins=[my_family]", "family=perceptron", "depth=4", "width=16", key]) == 2
        assert key.split("=")[0] in capsys.readouterr().err


def test_adamw_is_torchs_with_the_keys_of_the_schedule():
    model = torch.nn.Linear(3, 2)
    schedule = ScheduleConfig(learning_rate=0.1, momentum=0.8, beta2=0.99, weight_decay=0.01)
    optimizer = make_optimizer(model, RunConfig(optimizer="adamw", schedule=schedule))
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"], group["eps"]) == (0.1, (0.8, 0.99), 0.01, 1e-8)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()  # the first step of Adam is the sign of the gradient (Kingma and Ba 2015, algorithm 1)
    for parameter, start in zip(model.parameters(), before, strict=True):
        assert torch.allclose(parameter, start * (1 - 0.1 * 0.01) - 0.1, atol=1e-6)


@pytest.mark.parametrize(
    "keys", [{"optimizer": "adamw", "lr_schedule": "cosine", "schedule": tiny_schedule(warmup="linear", warmup_steps=4)}]
)
def test_a_run_with_adamw_cosine_and_linear_warm_up_resumes_to_the_same_bits(keys, tmp_path, monkeypatch):
    config = tiny(**keys)
    whole = train(config, tmp_path / "whole")
    interrupt(config, tmp_path / "cut", 5, monkeypatch)
    again = train(config, tmp_path / "cut")
    assert whole.steps.equals(again.steps)
    rates = whole.steps["learning_rate"].tolist()
    assert rates[:5] == pytest.approx([0.01, 0.0125, 0.015, 0.0175, 0.02])
    assert rates[8] == pytest.approx(0.01)
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)


def test_cosine_goes_from_the_full_rate_to_zero():
    config = RunConfig(data=DataConfig("cifar10"), lr_schedule="cosine", schedule=ScheduleConfig(steps=100, learning_rate=0.4))
    rates = [learning_rate(config, step, fixed_warmup_end(config.schedule)) for step in (0, 25, 50, 75, 100)]
    assert rates == pytest.approx([0.4, 0.2 + 0.2 * 0.5**0.5, 0.2, 0.2 - 0.2 * 0.5**0.5, 0.0])


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"schedule": ScheduleConfig(beta2=0.9)}, "schedule.beta2=0.9: is for optimizer=adamw"),
        ({"optimizer": "adamw", "update_scaling": "layerwise"}, "update_scaling=layerwise: is for optimizer=sgd"),
        ({"plugin": {"x": 1}}, "plugin.x"),
        ({"execution": 3}, "must be a ExecutionConfig"),
    ],
)
def test_what_excludes_each_other_is_refused(choices, why):
    with pytest.raises(ChoiceError, match="^.*" + why.replace(".", r"\.")):
        RunConfig(**choices)


def test_execution_is_no_part_of_what_a_run_is():
    where = ExecutionConfig(device_number=3, data_root="x", runs_per_process=2, checkpoint_minutes=9.0, observers=())
    assert tiny(execution=where) == tiny()
    assert tiny(execution=where).run_name() == tiny().run_name()
    assert tiny(execution=where).choices() == tiny().choices()
    assert RunConfig(device="cuda:3").torch_device == "cuda:3"
    assert RunConfig(device="cuda:3") == RunConfig(device="cuda")
