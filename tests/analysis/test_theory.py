"""Theory against hand calculations, simulation, and real nets at initialisation."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from harness.analysis import theory
from harness.analysis.phases import MOMENTS
from harness.analysis.theory import Map
from harness.config.registry import PROBE
from harness.models import introspection
from harness.models.build import build
from harness.models.evaluation import Evaluation
from harness.plots.branches import power_of_block
from harness.plots.gradients import by_block, by_layer
from harness.probes.base import Context, fetch_scalars
from support.helpers import tiny

SIDE = 8


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_growth_with_batch_normalisation():
    """pi / (pi - 1) = 3.14159 / 2.14159."""
    assert pytest.approx(1.466942, abs=1e-6) == theory.SQUARED_GRADIENT_FACTOR
    assert pytest.approx(1.211174, abs=1e-6) == theory.GRADIENT_FACTOR


def test_a_wide_plain_net_on_many_unrelated_samples_grows_at_that_rate():
    """Linear layers of 512 units, batch 512, 30 layers: growth per layer over the 20 farthest from the loss, within 1 %."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(512, 512, generator=draw)
    kept = []
    for _ in range(30):
        weight = torch.randn(512, 512, generator=draw) / 512**0.5
        x = functional.relu(functional.batch_norm(x @ weight.requires_grad_(), None, None, training=True))
        x.retain_grad()
        kept.append(x)
    (x * torch.randn(512, 512, generator=draw)).sum().backward()
    norms = [layer.grad.norm().item() for layer in kept]
    assert (norms[0] / norms[20]) ** (1 / 20) == pytest.approx(theory.GRADIENT_FACTOR, rel=0.01)


def test_padding_by_hand():
    """On 2 positions each of 2 outputs sees 2 of its 3 inputs: 4 of 6. On 8: 22 of 24."""
    assert theory.padding_factor(2) == pytest.approx(2 / 3)
    assert theory.padding_factor(8) == pytest.approx(22 / 24)
    assert theory.padding_factor(1) == pytest.approx(1 / 3)


def test_padding_of_a_uniform_signal_on_maps_of_8_4_and_2():
    """36 (ln 22/24 + ln 10/12 + ln 2/3) = -24.2926: 2.8e-11."""
    assert math.prod(theory.padding_factor(side) ** 36 for side in (8, 4, 2)) == pytest.approx(2.8175e-11, rel=1e-4)


def test_padding_of_a_signal_that_fades_at_the_border_by_hand():
    """Three positions: 1 1 1 becomes 2/3 1 2/3, of mean 7/9, then 5/9 7/9 5/9, of mean 17/27; the even one has 49/81.

    Every second of four, backwards: 1 1 on two positions is spread over 0 1, and 1 2 3: 1/3 2/3 1/3 1/3 of four, by 2.
    """
    assert theory.padding_left([3, 3, 3]) == pytest.approx([1, 7 / 9, 17 / 27])
    assert theory.padding_left([3, 3, 3], backwards=True) == pytest.approx([17 / 27, 7 / 9, 1])
    assert theory.padding_left([4, 2]) == pytest.approx([1, 5 / 6])
    assert theory.padding_left([4, 2], backwards=True) == pytest.approx([5 / 6, 1])


def test_after_many_layers_padding_leaves_the_largest_eigenvalue():
    left = theory.padding_left([8] * 100)
    assert left[-1] / left[-2] == pytest.approx((1 + 2 * math.cos(math.pi / 9)) / 3)


def test_a_plain_net_has_the_maps_of_the_paper():
    maps = theory.plain_net(20, 16, 32)
    assert maps == [Map(32, 16)] * 7 + [Map(16, 32)] * 6 + [Map(8, 64)] * 6


def test_gain_of_initial_values_by_hand():
    """Equal channels: He keeps, Xavier has half the variance, PyTorch a sixth. From 16 to 32: fan-out halves the square."""
    gains = [theory.gain(init, 16, 16) ** 2 for init in ("he", "he_fan_in", "xavier", "torch")]
    assert gains == pytest.approx([1, 1, 1 / 2, 1 / 6])
    gains = [theory.gain(init, 16, 32) ** 2 for init in ("he", "he_fan_in", "xavier", "torch")]
    assert gains == pytest.approx([1 / 2, 1, 1 / 3, 1 / 6])


def test_a_reflected_walk_by_hand_and_by_simulation():
    """Length 1: half of E[F^2]. Length 2: 1 + 1 / (2 pi). In the end about its length."""
    assert theory.reflected_walk(1) == 0.5
    assert theory.reflected_walk(2) == pytest.approx(1 + 1 / (2 * math.pi))
    draw, x = np.random.default_rng(0), np.zeros(200_000)
    for length in range(1, 21):
        x = np.maximum(0, x + draw.normal(size=x.size))
        assert np.mean(x**2) == pytest.approx(theory.reflected_walk(length), rel=0.03), length
    assert theory.reflected_walk(3000) == pytest.approx(3000, rel=0.05)


def test_the_branch_shrinks_as_one_over_root_l_by_hand():
    """preactivation, He, 8x8, one block a stage: 1/2 + (22/24)^2, halved by new channels, + (10/12)^2, halved.

    original: the stem's walk of 1; of 2; in stage 3 half the channels have 3 behind them, half 1.
    """
    first = 0.5 + (22 / 24) ** 2
    second = first / 2 + (10 / 12) ** 2
    expected = [(22 / 24) / 0.5**0.5, (10 / 12) / first**0.5, (2 / 3) / second**0.5]
    assert theory.branch_over_input("preactivation", 8, 16, SIDE, "he") == pytest.approx(expected)
    walk = [theory.reflected_walk(length) for length in (1, 2, 3)]
    expected = [1 / square**0.5 for square in (walk[0], walk[1], (walk[2] + walk[0]) / 2)]
    assert theory.branch_over_input("original", 8, 16, SIDE, "he") == pytest.approx(expected)


@pytest.mark.parametrize("order", ["original", "preactivation"])
def test_at_block_l_of_a_long_stage_the_branch_is_about_one_over_root_l(order):
    """At 64x64 padding hardly matters: at block 200 of stage 1 the ratio is 1/sqrt(200) to 8 %, from any start."""
    ratio = theory.branch_over_input(order, 6 * 200 + 2, 16, 64, "he")
    assert ratio[199] == pytest.approx(200**-0.5, rel=0.08)


def test_the_last_relu_removes_at_most_a_half():
    growth = np.diff([theory.reflected_walk(length) for length in range(1, 200)])
    assert growth.min() >= 0.5
    assert growth.max() <= 1.0
    assert growth[-1] > 0.95


def probed(**choices):
    """Return the rows of both probes of a net at initialisation, on 32 images of independent noise."""
    config = tiny(width=16, **choices)
    model, draw = build(config, 1, 10), torch.Generator().manual_seed(config.seed)
    x, y = torch.randn(32, 1, SIDE, SIDE, generator=draw), torch.randint(0, 10, (32,), generator=draw)
    context = Context(model, 0, 10, x, y, introspection.layers(model), introspection.blocks(model), lambda: Evaluation(0.0, 0.0))
    with PROBE["layers"]().watch(context) as layers, PROBE["blocks"]().watch(context) as blocks:
        functional.cross_entropy(model(x), y).backward()
    fetch_scalars([*layers, *blocks])
    return layers, blocks


@pytest.mark.parametrize("init", ["he", "he_fan_in", "xavier", "torch"])
def test_gradients_of_real_nets_without_normalisation(init):
    """Root mean square over 12 initial values, 20 layers: within 25 % (seeds scatter by about a third)."""
    squares = []
    for seed in range(12):
        _, rows = probed(depth=20, shortcut="none", norm="none", init=init, seed=seed)
        norms = np.array([row["grad_norm"] for row in rows])
        squares.append((norms / norms[-1]) ** 2)
    predicted = theory.gradient_left(theory.plain_net(20, 16, SIDE), init)[::2]
    assert np.sqrt(np.mean(squares, axis=0)) == pytest.approx(predicted, rel=0.25)


def test_the_signal_of_real_nets_without_normalisation():
    """Forwards, where the scatter of one layer affects all later ones: within a half."""
    squares = []
    for seed in range(16):
        _, rows = probed(depth=20, shortcut="none", norm="none", init="he", seed=seed)
        sizes = np.array([row["forward_norm"] / row["elements"] ** 0.5 for row in rows])
        squares.append((sizes / sizes[0]) ** 2)
    predicted = theory.signal_left(theory.plain_net(20, 16, SIDE), "he")[::2]
    assert np.sqrt(np.mean(squares, axis=0)) == pytest.approx(predicted, rel=0.5)


@pytest.mark.parametrize(("order", "within"), [("original", 0.05), ("preactivation", 0.12)])
def test_the_branches_of_real_residual_nets(order, within):
    """Four nets of 56 layers: every block's branch beside its input (a bare convolution of 16 channels scatters by a tenth)."""
    ratios = []
    for seed in range(4):
        layers, rows = probed(depth=56, order=order, seed=seed)
        inputs = [row["forward_norm"] / row["elements"] ** 0.5 for row in rows[:-1]]
        branches = [row["response_std"] for row in layers if row["name"].endswith("conv2")]
        ratios.append(np.divide(branches, inputs))
    assert np.mean(ratios, axis=0) == pytest.approx(theory.branch_over_input(order, 56, 16, SIDE, "he"), rel=within)


def moments_of(net, place, values, runs=3):
    """Return the frame that figures draw for runs of a net with these values at initialisation."""
    start = 1 if place == "layer" else 0
    steps = {"grad_norm": values, "forward_norm": values, place: range(start, start + len(values))}
    frames = [pd.DataFrame(steps).assign(run=f"run {seed}", seed=seed) for seed in range(runs)]
    table = pd.concat(frames, ignore_index=True).assign(arm="all runs", x=net.depth, moment=MOMENTS[0], elements=32 * 4 * 64)
    return table.assign(net=[net] * len(table))


PLAIN = theory.Net(8, 4, "none", "batch", "he", "original", "cifar", "basic", 32)


def dotted(ax):
    return [line.get_ydata() for line in ax.get_lines() if line.get_linestyle() == "--" and len(line.get_ydata())]


def test_theory_of_gradients_starts_from_the_measured_last_layer():
    """Measured growth 1.5 a layer, 7 convolutions, the last at 2: theory has 2 * 1.211^6 at the first."""
    measured = [2 * 1.5 ** (7 - layer) for layer in range(1, 8)]
    (figure,) = by_layer(moments_of(PLAIN, "layer", measured), "depth")
    (line,) = dotted(figure.axes[0])
    assert line == pytest.approx([2 * theory.GRADIENT_FACTOR ** (7 - layer) for layer in range(1, 8)])
    assert "per layer towards the input: 1.500 [1.500, 1.500], theory 1.211" in figure.axes[0].get_title()


def test_without_normalisation_theory_is_that_of_initial_values_and_padding():
    """Depth 8: stem and three blocks; from 32 * 4 * 64 elements the maps are 8 wide."""
    predicted = theory.gradient_left(theory.plain_net(8, 4, 8), "xavier")[::2]
    net = PLAIN._replace(norm="none", init="xavier")
    (figure,) = by_block(moments_of(net, "block", 5 * predicted), "depth")
    (line,) = dotted(figure.axes[0])
    assert line == pytest.approx(5 * predicted)
    (measured, of_theory) = figure.axes[0].get_title().rpartition(": ")[2].split("], theory ")
    assert measured.split(" ")[0] == of_theory


@pytest.mark.parametrize(
    "other", [{"shortcut": "identity"}, {"family": "imagenet"}, {"norm": "none", "init": "mine"}, {"block": "bottleneck"}]
)
def test_theory_is_drawn_only_where_it_applies(other):
    for place, draw in (("layer", by_layer), ("block", by_block)):
        (figure,) = draw(moments_of(PLAIN._replace(**other), place, [4.0, 3.0, 2.0, 1.0]), "depth")
        assert not dotted(figure.axes[0])
        assert "theory" not in figure.axes[0].get_title()


def test_the_power_of_a_branch_is_the_slope_of_logarithms():
    blocks = pd.DataFrame({"run": ["a"] * 3 + ["b"] * 3, "block": [1, 2, 4] * 2, "value": [1, 0.5, 0.25, 1, 2**-0.5, 0.5]})
    assert power_of_block(blocks).value == pytest.approx(-0.75)  # of -1 and -1/2
