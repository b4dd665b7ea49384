"""For any numbers in a run: every figure is drawn or left out, none raises, and every report is built."""

import numpy as np
import pytest

from benchmarks import measure_report
from harness import plots, report, status
from harness.analysis.tables import Tables
from harness.plots.alt_text import describe
from harness.plots.style import save
from harness.records import paths, states, writer
from harness.records.run import create, write_status
from harness.reporting.figures import NOT_DRAWN
from support.fabricate import digits, finish, sweep

DRAWN = {
    plots.ERROR: ("train_error", "test_error"),
    plots.BY_ARM: ("train_error", "test_error"),
    plots.CURVES: ("batch_error", "test_error"),
    plots.GRADIENTS: ("grad_norm",),
    plots.FIRST_LAYER: ("grad_norm",),
    plots.BY_STEP: ("grad_norm",),
    plots.ACTIVATIONS: ("grad_norm", "elements"),
    plots.FORWARD: ("forward_norm", "elements"),
    plots.BRANCHES: ("branch", "input", "elements"),
    plots.HEAT_MAPS: ("grad_norm",),
    plots.RESPONSES: ("response_std",),
}
"""The columns that each picture draws."""
ODD = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "zero": 0.0, "negative": -1.0, "huge": 1e308, "tiny": 5e-324}
RARELY = ("inf", "-inf", "negative", "tiny")
VALUES = [pytest.param(value, id=name, marks=[pytest.mark.soak] * (name in RARELY)) for name, value in ODD.items()]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Plain and residual nets of two depths and two seeds, with and without normalisation, and the norms of every step."""
    results, names = tmp_path_factory.mktemp("odd"), []
    for depth in (8, 14):
        configs = measure_report.configs(8, depth=depth, steps=12, rates=(0.1,))
        names += measure_report.generate(results / str(depth), configs, [0, 1, 2, 5, 12], [6, 12])
        for run in (results / str(depth) / paths.RUNS).iterdir():
            (results / paths.RUNS).mkdir(exist_ok=True)
            run.rename(results / paths.RUNS / run.name)
            norms = {"stem.conv": np.linspace(1, 2, 12, dtype=np.float32)}
            writer.write_vectors(results / paths.RUNS / run.name / paths.GRADIENT_NORMS, norms)
    return Tables(measure_report.sweep(results, names))


def draw(picture, frame, x, *, whole):
    for figure in picture.draw(frame, x):
        describe(figure)
        if whole:
            save(figure)


def frames(tables, value, places=3):
    """Yield each picture with frames in which one of its columns has this value: in all rows, in one arm's, in the first row."""
    for picture, columns in DRAWN.items():
        frame = picture.source.frame(tables)
        where = (np.ones(len(frame), bool), frame["arm"] == frame["arm"].iloc[0], np.arange(len(frame)) == 0)
        for column in columns:
            for place in where[:places]:
                yield picture, frame.assign(**{column: frame[column].astype(float).where(~place, value)})


def test_no_picture_is_forgotten():
    assert set(DRAWN) == {*plots.ALL, plots.BY_ARM}


@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")
@pytest.mark.parametrize("value", VALUES)
def test_every_figure_draws_what_it_can(tables, value):
    for picture, frame in frames(tables, value):
        draw(picture, frame, tables.x, whole=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")
@pytest.mark.parametrize("value", VALUES)
def test_every_figure_becomes_a_file(tables, value):
    for picture, frame in frames(tables, value, places=1):
        draw(picture, frame, tables.x, whole=True)


def unfinished(results, config, state, **facts):
    run = create(config, results)
    write_status(run, state, step=3, steps=12, **facts)
    return run.name


def spoiled(results, config):
    name = finish(results, config, 10.0, 12.0)
    (results / paths.RUNS / name / paths.EPOCHS).write_text("step\n")
    return name


def lost(results, config):
    name = finish(results, config, 10.0, 12.0)
    (results / paths.RUNS / name / paths.CONFIG).write_text('{"depth": "deep"}')
    return name


STATES = {
    "failed": lambda results, config: unfinished(results, config, states.FAILED, error="RuntimeError: no way <b>through</b>"),
    "killed": lambda results, config: unfinished(results, config, states.KILLED, error="signal 9"),
    "interrupted": lambda results, config: unfinished(results, config, states.RUNNING),
    "waiting": lambda results, config: create(config, results).name,
    "damaged": spoiled,
    "lost": lost,
    "diverged": lambda results, config: finish(results, config, 90.0, 90.0, states.DIVERGED),
    "done": lambda results, config: finish(results, config, 10.0, 12.0),
}
"""A function for each state of a run that makes such a run."""


@pytest.mark.parametrize("experiment", ["none", "degradation", "vanishing_gradient", "shortcuts"])
@pytest.mark.parametrize("states", [*STATES, "failed done", " ".join(STATES)])
def test_a_report_is_built_whatever_became_of_the_runs(states, experiment, tmp_path, capsys):
    makers = [STATES[state] for state in states.split()]
    nets = [(depth, shortcut) for depth in (20, 56) for shortcut in ("none", "identity")] * 2
    names = [
        makers[number % len(makers)](tmp_path, digits(depth, shortcut, seed=number // 4))
        for number, (depth, shortcut) in enumerate(nets)
    ]
    folder = sweep(tmp_path, names, experiment).folder
    unfinished_states = set(states.split()) - {"done", "diverged"}
    assert report.main([str(folder)]) == (1 if unfinished_states else 0)
    markdown = (folder / paths.REPORT_MARKDOWN).read_text()
    assert NOT_DRAWN not in markdown
    assert "numbers that it can be judged by" not in markdown
    assert all(name in markdown for name in names)
    for state in unfinished_states:
        assert f"is not done, {'damaged' if state == 'lost' else state}" in markdown
    printed = capsys.readouterr().out
    why = {"failed": "no way &lt;b>through", "killed": "signal 9", "damaged": "checksum", "lost": "depth: must be a whole number"}
    for state in unfinished_states & set(why):
        assert why[state] in markdown
        assert why[state].replace("&lt;", "<") in printed
    assert status.main([str(folder)]) == 0
    assert report.main(["--index", str(tmp_path)]) == 0
    assert "Damaged" not in (tmp_path / paths.INDEX).read_text()
