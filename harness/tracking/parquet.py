"""Apache Parquet: a file for each table, with the rows of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.config.flat import flatten
from harness.records import paths, reader
from harness.records.run import Run


def write_tables(folder: Path, runs: Sequence[Run], states: Sequence[str]) -> None:
    """Write FOLDER/TABLE.parquet for every table that some run has.

    The first columns are `run`, `status` and each choice as `config.KEY`. The columns of gradient_norms.parquet are the layers of
    all runs; those that a run does not have are empty.
    """
    choices = [{f"config.{key}": value for key, value in flatten(run.config).items()} for run in runs]
    about = pd.DataFrame(
        [{"run": run.name, "status": state} | row for run, state, row in zip(runs, states, choices, strict=True)]
    )
    about = about.convert_dtypes()
    mixed = about.select_dtypes("object").columns
    about[mixed] = about[mixed].astype("string")
    for name in dict.fromkeys(name for run in runs for name in run.table_names):
        files = [(row, path) for row, run in enumerate(runs) if (path := run.folder / paths.table(name)).exists()]
        tables = [reader.read_table(path) for _, path in files]
        if tables:
            positions = np.repeat([row for row, _ in files], list(map(len, tables)))
            rows = about.iloc[positions].reset_index(drop=True)
            table = pd.concat([rows, pd.concat(tables, ignore_index=True)], axis=1)
            table.to_parquet(folder / f"{name}.parquet", index=False)
