"""Large sweeps: tables of many runs equal those of the single runs, and figures do not grow with the number of seeds."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import measure_report
from harness import plots
from harness.analysis.phases import MOMENTS, moments
from harness.analysis.tables import MAPS, Tables
from harness.plots.errors import error_against
from harness.records import paths, reader, writer
from harness.records.reader import RecordError
from harness.reporting import build

PROBED = [0, 1, 2, 5, 10, 12]
RUNS = 30


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Thirty runs of 8 layers: seeds of two shortcuts, with and without normalisation, at two learning rates."""
    folder = tmp_path_factory.mktemp("scale")
    names = measure_report.generate(folder, measure_report.configs(RUNS, depth=8, steps=12, rates=(0.05, 0.1)), PROBED, [6, 12])
    return folder, names


def sweep(results, count):
    folder, names = results
    return measure_report.sweep(folder, names[:count])


def test_figures_do_not_grow_with_seeds(results):
    def drawn(count):
        tables = Tables(sweep(results, count))
        frames = {picture: picture.source.frame(tables) for picture in plots.ALL}
        return {picture.name: len(list(picture.draw(frame, tables.x))) for picture, frame in frames.items() if len(frame)}

    assert drawn(RUNS) == drawn(8)
    assert all(drawn(RUNS).values())
    assert {picture.name for picture in plots.ALL} - set(drawn(8)) == {plots.BY_STEP.name}  # these runs recorded no norms


def naive(tables, name):
    """Return a table of all runs, concatenated naively."""
    frames = []
    for row in tables.finished.itertuples():
        table = reader.read_table(paths.runs_of(tables.folder) / row.run / paths.table(name))
        frames.append(table.assign(run=row.run, arm=row.arm, x=row.x, seed=row.seed))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("name", ["epochs", "layers", "blocks"])
def test_a_table_is_the_tables_of_the_runs_one_after_the_other(results, name):
    tables = Tables(sweep(results, RUNS))
    pd.testing.assert_frame_equal(tables.table(name), naive(tables, name), check_exact=True)
    columns = ["grad_norm", "step"] if name != "epochs" else ["test_error", "step"]
    kept = [*columns, "run", "arm", "x", "seed"]
    pd.testing.assert_frame_equal(tables.table(name, columns), naive(tables, name)[kept], check_exact=True)


def test_moments_of_many_runs_are_those_of_the_rows(results):
    tables = Tables(sweep(results, RUNS))
    rows = naive(tables, "layers")
    rows = rows[rows["kind"] == "conv"]
    steps = {MOMENTS[0]: [0], MOMENTS[1]: [1, 2, 5, 10], MOMENTS[2]: [12]}
    for moment, probed in steps.items():
        expected = rows[rows["step"].isin(probed)].groupby(["run", "layer"])["grad_norm"].median()
        found = tables.layers[tables.layers["moment"] == moment].set_index(["run", "layer"])["grad_norm"]
        pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_exact=True, check_index_type=False)


def test_the_smallest_norms_and_true_zeros_survive(tmp_path):
    norms = [0.0, 1e-45, 5e-324, 0.1 + 0.2]
    table = pd.DataFrame({"step": [0] * 4, "layer": range(1, 5), "grad_norm": norms})
    writer.write_table(tmp_path / "norms.csv.gz", table)
    read = moments(reader.read_table(tmp_path / "norms.csv.gz", ["step", "layer", "grad_norm"]), "layer")
    for moment in (MOMENTS[0], MOMENTS[2]):
        assert read[read["moment"] == moment]["grad_norm"].tolist() == norms
    assert MOMENTS[1] not in set(read["moment"])


def test_early_is_the_median_of_steps_1_to_10_and_never_the_last_step():
    table = pd.DataFrame({"step": [0, 1, 2, 3, 10, 11], "block": 0, "grad_norm": [9.0, 1.0, 4.0, 2.0, 3.0, 8.0]})
    assert moments(table, "block")["grad_norm"].tolist() == [9.0, 2.5, 8.0]
    assert moments(table[:4], "block")["grad_norm"].tolist() == [9.0, 2.5, 2.0]


def test_what_is_missing_is_left_out_of_a_median_wherever_it_stands():
    """Steps 1 to 3 of two blocks: 5, -, 1 and -, -, 4; then a block that step 2 lacks: 7, 9."""
    nan = float("nan")
    even = pd.DataFrame({"step": [1, 1, 2, 2, 3, 3, 4, 4], "block": [0, 1] * 4, "norm": [5.0, nan, nan, nan, 1.0, 4.0, 0.0, nan]})
    early = moments(even, "block")
    assert early[early["moment"] == MOMENTS[1]]["norm"].tolist() == [3.0, 4.0]
    uneven = pd.DataFrame({"step": [1, 1, 2, 3, 3, 4], "block": [0, 1, 0, 0, 1, 0], "norm": [1.0, 7.0, 2.0, 4.0, 9.0, 0.0]})
    early = moments(uneven, "block")
    assert early[early["moment"] == MOMENTS[1]]["norm"].tolist() == [2.0, 8.0]


def test_a_statistic_of_each_run_needs_one_run_at_a_time(results):
    """As for a claim: one number per run, from the rows of some steps."""
    tables = Tables(sweep(results, RUNS))
    lengths = []

    def ratio(layers):
        lengths.append(len(layers))
        norms = layers[layers["step"] == 12].set_index("layer")["grad_norm"]
        return pd.DataFrame({"ratio": [norms[1] / norms[7]]})

    found = tables.reduce("layers", ratio, columns=("step", "layer", "grad_norm"))
    assert lengths == [8 * len(PROBED)] * RUNS
    assert list(found.columns) == ["ratio", "run", "arm", "x", "seed"]
    assert found["run"].tolist() == tables.finished["run"].tolist()
    rows = naive(tables, "layers")
    last = rows[(rows["run"] == found["run"][7]) & (rows["step"] == 12)].set_index("layer")["grad_norm"]
    assert found["ratio"][7] == last[1] / last[7]


def test_heat_maps_are_of_the_lowest_seed_of_every_arm_and_at_most_so_many(results, monkeypatch):
    tables = Tables(sweep(results, RUNS))
    cells = tables.heat_maps.drop_duplicates("run")
    assert len(cells) == 8 <= MAPS
    assert not cells.duplicated(["arm", "x"]).any()
    assert set(cells["seed"]) == {0}
    monkeypatch.setattr("harness.analysis.tables.MAPS", 4)
    few = Tables(tables.folder).heat_maps.drop_duplicates("run")
    assert len(few) == few["arm"].nunique() == 4


def test_what_cannot_be_read_is_named(results, tmp_path):
    tables = Tables(sweep(results, 2))
    with pytest.raises(RecordError, match="lacks the column speed"):
        tables.table("layers", ["speed"])
    assert tables.table("landscapes").empty


def test_of_many_arms_the_first_are_drawn_and_the_report_says_so(results, monkeypatch):
    monkeypatch.setattr("harness.reporting.figures.MAX_ARMS", 3)
    folder = sweep(results, RUNS)
    assert build.conclude(folder) == 0
    assert "The first 3 of 4 arms are drawn; the tables hold all." in (folder / paths.REPORT_MARKDOWN).read_text()


def test_every_run_is_a_dot_inside_its_panel_at_its_own_value():
    runs = pd.DataFrame([{"x": x, "arm": f"arm {arm}", "seed": seed} for x in (20, 56) for arm in range(14) for seed in range(9)])
    runs = runs.assign(status="done", train_error=np.linspace(1, 90, len(runs)), test_error=np.linspace(3, 95, len(runs)))
    figures = list(error_against(runs, "depth"))
    assert len(figures) == 2  # twelve arms and two
    for column, place in (("train_error", 0), ("test_error", 1)):
        seen = []
        for figure in figures:
            low, high = figure.axes[place].get_ylim()
            points = [point for dots in figure.axes[place].collections for point in dots.get_offsets().tolist()]
            assert all(low <= y <= high for _, y in points)
            seen += points
        assert sorted(map(tuple, seen)) == sorted(zip(runs["x"], runs[column], strict=True))
