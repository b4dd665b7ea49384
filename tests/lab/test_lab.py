"""The lab: values worked by hand, formula against autograd, measured misconceptions, and the command that builds both pages."""

import json
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from harness.config.blocks import BlockKind, Order
from harness.config.network import NetworkConfig
from harness.config.run import RunConfig
from harness.lab import __main__ as command
from harness.lab import (
    build,
    matching,
    misconceptions,
    page,
    plugin,
    residual_block,
    runs,
    scalar_block,
    tensor_block,
    toy_fit,
    variants,
    worked_examples,
)
from harness.lab.texts import LANGUAGES
from harness.models.blocks import Block, BlockSpec
from harness.reporting.document import Table

ROOT = Path(__file__).resolve().parents[2]
ONE_EVALUATION, ONE_TRAINING, FOUR_EVALUATION, FOUR_TRAINING = scalar_block.CASES


def formula(case, weights=None):
    return scalar_block.by_formula(weights or scalar_block.WEIGHTS, scalar_block.RUNNING, case)


def test_forward_of_one_number_worked_with_fractions():
    """Running variances whose roots are 1/2 and 2, but for epsilon: every value is a fraction."""
    epsilon = Fraction(1, 100_000)
    running = {"mean1": 0.3, "variance1": float(Fraction(1, 4) - epsilon), "mean2": 0.2, "variance2": float(4 - epsilon)}
    weights = {"W1": 0.5, "b1": 0.1, "gamma1": 2.0, "beta1": 0.25, "W2": -1.5, "b2": 0.5, "gamma2": 3.0, "beta2": 0.125}
    quantities = scalar_block.by_formula(weights, running, ONE_EVALUATION)
    x1 = Fraction(1, 2) + Fraction(1, 10)
    a1 = 2 * (x1 - Fraction(3, 10)) / Fraction(1, 2) + Fraction(1, 4)
    x3 = Fraction(-3, 2) * a1 + Fraction(1, 2)
    branch = 3 * (x3 - Fraction(1, 5)) / 2 + Fraction(1, 8)
    for name, value in {"x1": x1, "a1": a1, "x2": a1, "x3": x3, "F": branch, "s": branch + 1, "y": 0}.items():
        assert quantities[name][0] == pytest.approx(float(value), abs=1e-12), name


def test_gradient_of_one_number_is_the_product_along_the_branch_plus_one():
    """dL/dx0 = 1 + gamma2/sigma2 W2 gamma1/sigma1 W1, both ReLUs being open."""
    values, w, r = formula(ONE_EVALUATION), scalar_block.WEIGHTS, scalar_block.RUNNING
    assert values["a1"][0] > 0
    assert values["s"][0] > 0
    slope = w["gamma1"] * w["W1"] * w["gamma2"] * w["W2"] / ((r["variance1"] + 1e-5) * (r["variance2"] + 1e-5)) ** 0.5
    assert values["dx0"][0] == pytest.approx(1 + slope, abs=1e-14)
    assert values["dx0_shortcut"] == [1.0]


def test_a_batch_of_one_in_training_mode_outputs_beta_and_passes_no_gradient():
    quantities = formula(ONE_TRAINING)
    assert quantities["a1"] == [scalar_block.WEIGHTS["beta1"]]
    assert quantities["F"] == [scalar_block.WEIGHTS["beta2"]]
    for name in ("dx3", "dW2", "db2", "dgamma2", "dgamma1", "dbeta1", "dW1", "db1", "dx0_branch"):
        assert quantities[name] == [0.0], name
    assert quantities["dx0"] == [1.0]
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        torch.nn.functional.batch_norm(torch.ones(1, 1), torch.zeros(1), torch.ones(1), training=True)


def test_in_training_mode_gradients_before_a_norm_sum_to_zero_and_the_scale_of_weights_cancels():
    values = formula(FOUR_TRAINING)
    assert sum(values["dx3"]) == pytest.approx(0, abs=1e-15)
    assert sum(values["dx1"]) == pytest.approx(0, abs=1e-15)
    double = formula(FOUR_TRAINING, scalar_block.WEIGHTS | {"W1": 1.6, "b1": 7.0})
    assert double["y"] == pytest.approx(values["y"], abs=1e-4)  # equal but for epsilon, 1e-5 beside variances near 1
    assert formula(FOUR_EVALUATION, scalar_block.WEIGHTS | {"W1": 1.6})["y"] != pytest.approx(
        formula(FOUR_EVALUATION)["y"], abs=0.1
    )


@pytest.mark.parametrize("case", scalar_block.CASES, ids=lambda case: case.name)
def test_formula_equals_autograd_on_numbers(case):
    """To a few units in the last place of float64 values near 1."""
    for weights in ({}, {"W1": -2.0, "gamma1": 0.3, "W2": 1.7, "beta2": -2.0}):
        arguments = scalar_block.WEIGHTS | weights, scalar_block.RUNNING, case
        by_formula, by_autograd = scalar_block.by_formula(*arguments), scalar_block.by_autograd(*arguments)
        assert list(by_formula) == list(by_autograd) == [*residual_block.FORWARD, *residual_block.BACKWARD]
        assert max(scalar_block.difference(by_formula[name], by_autograd[name]) for name in by_formula) < 1e-13


def test_gradients_are_slopes():
    """Central differences of L = sum y dL/dy in every weight, in training mode."""

    def loss(weights):
        return sum(g * y for g, y in zip(FOUR_TRAINING.dy, formula(FOUR_TRAINING, weights)["y"], strict=True))

    values, start = formula(FOUR_TRAINING), scalar_block.WEIGHTS
    for name in ("W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2"):
        up, down = (loss(start | {name: start[name] + step}) for step in (1e-6, -1e-6))
        assert (up - down) / 2e-6 == pytest.approx(values[f"d{name}"][0], abs=1e-8), name


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js here; the Chromium test covers it")
def test_the_script_of_the_page_computes_the_same_numbers():
    settings = [
        scalar_block.WEIGHTS,
        scalar_block.WEIGHTS | {"W1": -1.3, "b1": 0.4, "gamma1": 0.0, "W2": 2.5, "beta2": -0.7},
        scalar_block.WEIGHTS | {"gamma2": -3.0},
    ]
    calls = [
        [weights, scalar_block.RUNNING, residual_block.EPSILON, case.x0, case.dy, case.training]
        for weights in settings
        for case in scalar_block.CASES
    ]
    script = f"const {{ residualBlock }} = require({json.dumps(str(ROOT / 'harness/lab/templates/lab.js'))});"
    script += f"console.log(JSON.stringify({json.dumps(calls)}.map((call) => residualBlock(...call))));"
    done = subprocess.run([shutil.which("node"), "-e", script], capture_output=True, text=True, check=True)
    expected = [formula(case, weights) for weights in settings for case in scalar_block.CASES]
    for by_script, by_formula in zip(json.loads(done.stdout), expected, strict=True):
        assert list(by_script) == list(by_formula)
        for name in by_script:
            assert by_script[name] == pytest.approx(by_formula[name], abs=1e-12), name


@pytest.mark.parametrize("training", [True, False])
def test_formula_equals_autograd_on_tensors(training):
    """To rounding in float64; dL/db, which cancels to zero, relative to the sum of its absolute values."""
    weights, running = tensor_block.parameters(6, torch.float64), tensor_block.untrained(6, torch.float64)
    rows, flips = tensor_block.compare(weights, running, *tensor_block.example((3, 6, 5, 5), torch.float64), training)
    assert flips == 0
    assert [row.name for row in rows] == [name for name in residual_block.FORMULAS if name not in ("dy", "dF")]
    assert max(row.difference for row in rows) < 1e-13
    biases = {row.name: row.norm for row in rows if row.name in ("db1", "db2")}
    assert all(norm < 1e-12 for norm in biases.values()) is training


def test_the_block_of_tensors_is_the_harness_s():
    weights, running = tensor_block.parameters(6, torch.float64), tensor_block.untrained(6, torch.float64)
    x0, dy = tensor_block.example((3, 6, 5, 5), torch.float64)
    module = Block(NetworkConfig(), BlockSpec(6, 6, 1)).double()
    for n in (1, 2):
        weights[f"b{n}"].zero_()
        module.get_submodule(f"conv{n}").weight.data = weights[f"W{n}"]
        norm = module.get_submodule(f"norm{n}")
        norm.weight.data, norm.bias.data = weights[f"gamma{n}"], weights[f"beta{n}"]
    for training in (True, False):
        quantities = {name: value.clone() for name, value in residual_block.by_formula(weights, running, x0, dy, training)}
        assert torch.allclose(module.train(training)(x0), quantities["y"], rtol=0, atol=1e-13)
    assert torch.allclose(module.get_submodule("norm2").running_var, running["variance2"], rtol=0, atol=1e-14)


def test_the_input_is_added_before_the_last_relu():
    numbers = misconceptions.position_of_the_addition()
    assert numbers["paper"] < 1e-14
    assert numbers["after_relu"] > 1
    assert numbers["no_relu"] > 1
    assert numbers["below_after_relu"] == 0 < numbers["below_paper"]


def test_the_gradient_of_a_sum():
    slopes = misconceptions.gradient_of_the_sum()
    assert slopes["half"][:3] == (1.0, 1.5, 1.5)
    for slope in slopes.values():
        assert slope.right == pytest.approx(slope.autograd, rel=1e-12)
        assert slope.measured == pytest.approx(slope.autograd, rel=1e-6)
        assert abs(slope.note - slope.autograd) > 0.1


def test_the_backward_pass_of_batch_norm_is_not_a_multiplication_by_gamma():
    gradients = misconceptions.backward_of_batch_norm()
    for gradient in gradients.values():
        assert gradient.note > 0.1
        assert gradient.right < 1e-14
    assert gradients["training"].batch_sum < 1e-12 < 1 < gradients["evaluation"].batch_sum
    assert gradients["training"].along < 1e-3 < 1 < gradients["evaluation"].along  # zero but for epsilon


def test_a_gradient_is_unchanged_only_along_the_identity():
    passages = misconceptions.unchanged_gradient()
    assert passages["preactivation"] == (0, 100, 1)
    assert 0 < passages["original"].zero < 100
    assert passages["option_a"].zero == 75
    assert passages["option_b"].unchanged == 0


def test_a_bias_before_batch_norm_gets_no_gradient_while_training():
    norms = misconceptions.bias_before_norm()
    assert norms["training"][0] < 1e-12 < 1 < norms["evaluation"][0]
    assert norms["training"][1] > 1


@pytest.mark.slow
def test_nets_of_equal_size():
    """The residual net of 20 layers and width 8 has 67,906 parameters; no growth is nearer than the ones returned."""
    like = RunConfig(width=8, device="cpu")
    assert matching.size(like).parameters == 67_906
    for quantity in ("parameters", "flops"):
        growth = matching.nearest_growth(like, quantity)
        gap = {
            g: abs(getattr(matching.size(matching.dense(like, g)), quantity) - getattr(matching.size(like), quantity))
            for g in (growth - 1, growth, growth + 1)
        }
        assert min(gap, key=gap.get) == growth


def test_a_bottleneck_s_share():
    """Two 3x3 convolutions on 256 channels, and 256 to 64, 3x3 on 64, 64 to 256."""
    assert variants.block_counts(BlockKind.basic) == (2 * 9 * 256**2, 2 * 2 * 9 * 256**2 * 56**2)
    assert variants.block_counts(BlockKind.bottleneck)[0] == 256 * 64 + 9 * 64 * 64 + 64 * 256


def test_random_labels_are_the_digits_labels_shuffled():
    from harness.config.data import DataConfig
    from harness.data.datasets import Digits

    true, random = (source.read(DataConfig()) for source in (Digits, plugin.RandomLabels))
    assert (true.train_images == random.train_images).all()
    assert (true.test_labels == random.test_labels).all()
    assert sorted(true.train_labels) == sorted(random.train_labels)
    assert 0.05 < (true.train_labels == random.train_labels).mean() < 0.15  # one in ten by chance


def test_a_block_without_its_shortcut_is_its_branch():
    """In order relu_before_addition nothing follows the sum, so with the shortcut it is more by the input exactly."""
    module = Block(NetworkConfig(order=Order.relu_before_addition), BlockSpec(4, 4, 1)).eval()
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = module(x)
        with plugin.without_shortcuts([module]):
            branch = module(x)
        assert torch.equal(branch + x, whole)
        assert torch.equal(module(x), whole)


def test_a_toy_fit_starts_where_the_arithmetic_says(monkeypatch):
    """Before the first step and for H(x) = x, the error of the arm with the shortcut is F, that of the other F - x."""
    monkeypatch.setattr(toy_fit, "STEPS", 2)
    x = torch.ones(toy_fit.SEEDS, 4, toy_fit.INPUTS, dtype=torch.float64)
    residual, plain = (toy_fit._descend(x, x, factor, 0.1) for factor in (1.0, 0.0))
    silent = toy_fit._descend(x, torch.zeros_like(x), 0.0, 0.1)
    assert torch.equal(residual[0], silent[0])
    assert (plain[0] != residual[0]).all()
    assert (residual[2] < residual[0]).all()


def test_text_is_escaped():
    html = page.html({"about": [Table(["<script>alert(1)</script>"], [["<img src=x>"]])]}, "en", [])
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert "&lt;img src=x&gt;" in html


def test_a_wrong_language_or_folder_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["--language", "fr"])
    (tmp_path / "file").write_text("")
    assert command.main(["--results", str(tmp_path / "file" / "results")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_less_memory_means_a_smaller_batch(monkeypatch):
    monkeypatch.setattr(worked_examples.memory, "available", lambda: worked_examples.COPIES * 4 * 4 * 3 * 3 * 3 * 2)
    assert next(worked_examples.tensors((8, 3, 3, 3))).values["shape"] == "[4, 3, 3, 3]"


@pytest.mark.slow
def test_the_lab_from_end_to_end(tmp_path, monkeypatch, capsys):
    """The command with every run at three steps of two seeds and a small block of tensors; the second time it trains nothing."""
    short, chapters = runs.plan(seeds=(0, 1), steps=3), build.chapters
    monkeypatch.setattr(runs, "plan", lambda: short)
    monkeypatch.setattr(build, "chapters", lambda plan, records: chapters(plan, records, shape=(2, 4, 6, 6)))
    assert command.main(["--results", str(tmp_path)]) == 0
    paths = [tmp_path / "lab" / name for name in LANGUAGES.values()]
    assert capsys.readouterr().out.splitlines() == [f"lab: {path}" for path in paths]
    first = [path.read_bytes() for path in paths]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/status.json")}
    assert command.main(["--results", str(tmp_path)]) == 0
    assert [path.read_bytes() for path in paths] == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/status.json")} == before
    english, chinese = (text.decode() for text in first)
    assert '<html lang="zh-TW">' in chinese
    assert 'href="index.zh-TW.html"' in english
    assert 'href="index.html"' in chinese
    assert english.count("<figure") == chinese.count("<figure") == 5
    assert len(re.findall("[\u4e00-\u9fff]", english)) == len("繁體中文")
    for text in (english, chinese):
        assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/", "")


def test_a_run_that_fails_is_named(tmp_path, monkeypatch, capsys):
    def train(plan, results):
        raise runs.RunsFailed("digits-none-20: failed OSError")

    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(runs, "plan", dict)
    assert command.main(["--results", str(tmp_path)]) == 1
    assert "digits-none-20" in capsys.readouterr().err
