"""Evaluations: logits that are not finite, running statistics that lag behind, and comparison with the training batches."""

import json
import math

import pandas as pd
import pytest
import torch
from torch import nn

import harness
from harness import run
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.models.evaluation import estimate_norms, evaluate
from harness.records import paths
from harness.records.run import Run
from harness.reporting import build
from harness.system.signals import Stop
from support.fabricate import digits, finish, steps, sweep
from support.helpers import tiny, tiny_schedule

PLAIN = torch.autocast("cpu", enabled=False)
DEEP = [
    "shortcut=none",
    "width=4",
    "schedule.steps=4",
    "schedule.learning_rate=0.1",
    "schedule.milestones=[]",
    "schedule.batch_size=32",
]
"""Plain nets. At 110 layers the evaluation overflows, because the running statistics lag behind the growing weights."""


class Echo(nn.Module):
    """Returns its input as logits."""

    def forward(self, images):
        return images


# --- logits that are not finite ---


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [(0, 0), (1, 1), (1, 0)])
def test_one_logit_that_is_not_finite_makes_the_evaluation_not_finite(wrong, position):
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 1])
    assert evaluate(Echo(), [(logits, labels)], PLAIN).loss == pytest.approx(math.log1p(math.exp(-2)))
    logits[position] = wrong
    evaluation = evaluate(Echo(), [(logits, labels)], PLAIN)
    assert not evaluation.finite


def test_a_loss_that_overflows_is_not_finite_though_the_logits_are():
    evaluation = evaluate(Echo(), [(torch.tensor([[3e38, -3e38]]), torch.tensor([1]))], PLAIN)
    assert not evaluation.finite


def test_an_evaluation_that_overflows_is_named_and_has_the_error_of_chance(tmp_path, capsys):
    assert run.main(["-m", "depth=20,110", *DEEP, "device=cpu", f"results={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    (folder,) = (tmp_path / paths.SWEEPS).iterdir()
    table = pd.read_csv(folder / paths.RUNS_TABLE).set_index("depth")
    assert table["status"].tolist() == ["done", "done"]
    assert table.loc[110, ["train_error", "test_error"]].tolist() == [90.0, 90.0]
    assert table["overflowed"].fillna("").tolist() == ["", "train test"]
    header, *rows = printed.splitlines()
    assert "overflowed" in header
    assert "train test" in next(row for row in rows if row.startswith("110"))
    (claim,) = [verdict for verdict in json.loads((folder / paths.VERDICTS).read_text())["verdicts"] if verdict["claim"] == "D1"]
    assert claim["runs"].endswith("1 of 2 runs with an evaluation that is not finite")
    name = table.loc[110, "run"]
    assert f"{name} overflowed: the evaluation at the end is not finite" in (folder / paths.REPORT_MARKDOWN).read_text()
    assert sorted(Run(tmp_path / paths.RUNS / name).status["overflowed"]) == ["test", "train"]
    epochs = pd.read_csv(tmp_path / paths.RUNS / name / paths.EPOCHS)
    assert epochs["test_loss"].isna().all()
    assert epochs["test_error"].tolist() == [90.0]


# --- precise norms ---


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 2))


def test_running_statistics_become_the_mean_of_those_of_the_batches():
    """The mean and unbiased variance of 0, 1, 2, 5 are 2 and 14 / 3, those of 4, 4, 8, 8 are 6 and 16 / 3."""
    model = net()
    batches = [(torch.tensor(values).reshape(2, 1, 2, 1), torch.tensor([0, 1])) for values in ([0.0, 1, 2, 5], [4.0, 4, 8, 8])]
    model[3] = nn.Linear(2, 2)
    model[0].running_mean.fill_(100.0)  # must be forgotten
    random = torch.get_rng_state()
    estimate_norms(model, batches, PLAIN)
    assert model[0].running_mean.item() == pytest.approx(4)
    assert model[0].running_var.item() == pytest.approx(5)
    assert torch.equal(torch.get_rng_state(), random)  # dropout drew nothing
    assert all(module.training for module in model.modules())
    assert model[0].momentum == 0.1


def test_the_mode_of_every_module_is_restored_after_an_exception():
    class Stopped(Exception):
        pass

    def batches():
        yield torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])
        raise Stopped

    model = net()
    model[1].eval()
    for work in (estimate_norms, evaluate):
        with pytest.raises(Stopped):
            work(model, batches(), PLAIN)
        assert [module.training for module in model] == [True, False, True, True]
        assert model[0].momentum == 0.1


def test_precise_norms_change_evaluations_and_not_the_training(tmp_path):
    tables = {}
    for images in (None, 64):
        done = harness.train(tiny(shortcut="none", schedule=tiny_schedule(precise_norm=images)), tmp_path)
        tables[images] = [pd.read_csv(done.folder / name) for name in (paths.STEPS, paths.EPOCHS)]
    pd.testing.assert_frame_equal(tables[None][0], tables[64][0], check_exact=True)
    assert (tables[None][1]["test_loss"] != tables[64][1]["test_loss"]).all()


def test_the_net_that_overflowed_has_a_finite_evaluation_with_precise_norms(tmp_path):
    arguments = ["depth=110", *DEEP, "schedule.precise_norm=512", "device=cpu", f"results={tmp_path}"]
    assert run.main(arguments) == 0
    (folder,) = (tmp_path / paths.RUNS).iterdir()
    assert "overflowed" not in Run(folder).status
    assert pd.read_csv(folder / paths.EPOCHS)["test_loss"].notna().all()


def test_a_run_with_precise_norms_resumes_from_within_an_evaluation_with_the_same_bits(tmp_path):
    """A stop request is noticed after each batch of the statistics and of the evaluation."""
    config = tiny(schedule=tiny_schedule(precise_norm=96), probes=())
    whole = harness.train(config, tmp_path / "whole")
    stops = 0
    for batch in range(1, 9):
        stopped = stop_in_evaluation(config, tmp_path / str(batch), batch)
        stops += stopped
        again = harness.train(config, tmp_path / str(batch))
        assert ("resumed_from_step" in again.status) == stopped
        for name in (paths.STEPS, paths.WEIGHTS):
            assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert stops >= 5


def stop_in_evaluation(config, results, after):
    """Train, and request a stop at check number `after` of an evaluation; return whether the run stopped."""
    checks = []

    def now(stop):
        checks.append(1)
        return len(checks) >= after

    with pytest.MonkeyPatch.context() as patch:
        unless = harness.training.loop.Training._unless_stopped

        def watched(self, batches):
            patch.setattr(Stop, "__bool__", now)
            yield from unless(self, batches)
            patch.undo()
            patch.setattr(harness.training.loop.Training, "_unless_stopped", watched)

        patch.setattr(harness.training.loop.Training, "_unless_stopped", watched)
        try:
            harness.train(config, results)
        except KeyboardInterrupt:
            return True
    return False


def test_precise_norms_are_refused_where_there_are_no_norms():
    with pytest.raises(ChoiceError, match=r"schedule\.precise_norm=64: is for nets with batch normalisation"):
        RunConfig(norm="none", schedule=ScheduleConfig(precise_norm=64))
    with pytest.raises(ChoiceError, match=r"schedule\.precise_norm"):
        ScheduleConfig(precise_norm=0)


# --- the batches beside the evaluation ---


def test_the_report_names_runs_whose_last_50_batches_differ_from_the_evaluation(tmp_path):
    errors = {56: 40.0, 20: 12.0}
    names = []
    for depth, error in errors.items():
        config = digits(depth, "none")
        names.append(finish(tmp_path, config, error, error, tables=steps(config, error=[90.0] * 30 + [10.0] * 25 + [14.0] * 25)))
    tables = sweep(tmp_path, names)
    assert build.conclude(tables.folder) == 0
    assert pd.read_csv(tables.folder / paths.RUNS_TABLE)["batch_error"].tolist() == [12.0, 12.0]
    report = (tables.folder / paths.REPORT_MARKDOWN).read_text()
    section = report[report.index("differ by more than 5 points") :].splitlines()
    assert [line.split(" | ")[1:] for line in section if names[0] in line] == [["12", "40", "28 |"]]
    assert not [line for line in section[:8] if names[1] in line]
