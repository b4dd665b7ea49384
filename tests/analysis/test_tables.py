"""Frames that join the tables of several probes."""

from functools import partial

import pandas as pd
import pytest

from harness.analysis.phases import MOMENTS
from harness.analysis.tables import Tables


def rows(run, places, **columns):
    arm = {"run": run, "arm": "all runs", "x": 8, "seed": 0, "net": None, "moment": MOMENTS[0]}
    return pd.DataFrame({**places, **columns}).assign(**arm)


def test_branches_of_a_run_without_blocks_take_nothing_from_another_run(tmp_path):
    """Run a has probed its layers only; b and c have both tables, and inputs of root mean square 3 and 5."""
    tables = Tables(tmp_path)
    layers = partial(rows, places={"layer": [1, 2, 3]})
    blocks = partial(rows, places={"block": [0, 1]})
    vars(tables).update(
        runs=pd.DataFrame({"run": ["c", "a", "b"], "shortcut": "identity"}),
        layers=pd.concat([layers(run, response_std=[9.0, 9.0, std]) for run, std in {"a": 1.0, "b": 2.0, "c": 4.0}.items()]),
        blocks=pd.concat(
            [blocks(run, forward_norm=[rms * 10, 0.0], elements=[100, 100]) for run, rms in {"b": 3, "c": 5}.items()]
        ),
    )
    branches = tables.branches.set_index("run")
    assert branches["block"].tolist() == [1, 1]
    assert branches.loc["b", ["branch", "input"]].tolist() == pytest.approx([2, 3])
    assert branches.loc["c", ["branch", "input"]].tolist() == pytest.approx([4, 5])
