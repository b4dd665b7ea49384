"""Run folders as DataFrames: everything that a report shows.

Frames of several runs also have `run`, `seed`, `x` (the value of the key on the horizontal axis: depth, unless only another
number varies) and `arm` (the other varying keys that have an effect in the run, as text). The tables of thousands of runs do not
fit into memory, so `Tables.reduce` applies a function to the table of one run at a time and joins only the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.phases import MOMENTS, hidden_layers, moments, thinned
from harness.analysis.request import Request
from harness.analysis.run_results import NO_RESULTS, results_at_end
from harness.analysis.theory import Net
from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.records.schema import OPTIONAL_RESULTS, RESULTS
from harness.system.cores import available_cores

FIRST = "stem.conv"
APART = 5.0
"""Percentage points from which batch error and training error at the end count as different."""
MAPS = 24
"""Maximum runs whose every probed step is shown."""


class Unreadable(RecordError):
    """Tables cannot be read: `why` has the reason for each run, by name."""

    def __init__(self, why: Mapping[str, str]) -> None:
        super().__init__("; ".join(why.values()))
        self.why = why


@dataclass(frozen=True)
class Measure:
    """A statistic of each run: `function` turns the `columns` of a run's table `table` into a few rows, ideally one.

    Equal measures are computed once; declare each measure and its function at module level so they compare equal. The function
    should be cheap: for 2,000 runs, 1 ms per run takes 2 s.
    """

    table: str
    columns: tuple[str, ...]
    function: Callable[[pd.DataFrame], pd.DataFrame]

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        """Apply the function to a table that may have more columns than the measure's."""
        return self.function(table[list(self.columns)])


@dataclass(frozen=True)
class Tables(Request):
    """The tables of one sweep folder."""

    damaged: Mapping[str, str] = field(default_factory=dict)
    """The reason for each run, by name, that counts as damaged although its files match their checksums."""
    _computed: dict[Measure, pd.DataFrame] = field(default_factory=dict, init=False, repr=False, compare=False)

    def along(self, key: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame of several runs with `key` on the horizontal axis; unchanged if `key` does not vary."""
        if key not in self.varying or key == self.x or frame.empty:
            return frame
        configs = {run.name: flat for run, flat in zip(self.all_runs, self.flat, strict=True)}
        arms = {name: self.arm(flat, key) for name, flat in configs.items()}
        return frame.assign(x=[configs[name][key] for name in frame["run"]], arm=frame["run"].map(arms))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: every key, the results, `error` (text) of a failed run, `x` and `arm`."""
        with ThreadPoolExecutor(available_cores()) as pool:  # hashing, unpacking and parsing release the interpreter lock
            rows = list(pool.map(self._row, self.all_runs, self.flat))
        return pd.DataFrame(rows, columns=None if rows else [*self.keys, *RESULTS, *OPTIONAL_RESULTS, "error", "arm", "x"])

    def with_lost(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with one row per run, followed by a row for each run whose configuration is unreadable."""
        if not self.lost:
            return table
        rows = pd.DataFrame({"run": list(self.lost), "status": states.DAMAGED}, dtype=object).reindex(columns=table.columns)
        return pd.concat([table.astype(object), rows], ignore_index=True)

    @cached_property
    def troubles(self) -> dict[str, str]:
        """The state of each run without a result, and the reason if there is one, by name."""
        unfinished = self.runs[~self.runs["status"].isin(states.FINISHED)]
        reasons = {row.run: f"{row.status}{': ' if row.error else '.'}{row.error}" for row in unfinished.itertuples()}
        return reasons | {name: f"{states.DAMAGED}: {why}" for name, why in self.lost.items()}

    @cached_property
    def results(self) -> list[str]:
        """The columns of results; optional ones only if some run has a value."""
        optional = [name for name in OPTIONAL_RESULTS if self.runs[name].notna().any()]
        names = list(RESULTS)
        after = names.index("batch_error") + 1
        return [*names[:after], *optional, *names[after:]]

    @cached_property
    def runs_table(self) -> pd.DataFrame:
        """The contents of runs.csv: every key, then the results. The members of a list are separated by spaces."""
        table = self.runs[[*self.keys, *self.results]].copy()
        configs = self.flat_configs
        for key in [key for flat in configs[:1] for key, value in flat.items() if isinstance(value, tuple)]:
            table[key] = [" ".join(map(str, flat.get(key, ()))) for flat in configs]
        return self.with_lost(table)

    @cached_property
    def apart(self) -> pd.DataFrame:
        """The completed runs whose batch error and training error at the end differ by more than APART."""
        done = self.runs[self.runs["status"] == states.DONE]
        return done[(done["batch_error"] - done["train_error"]).abs() > APART]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs with a result, diverged ones included."""
        return self.runs[self.runs["status"].isin(states.FINISHED)]

    def compute(self, measures: Iterable[Measure]) -> None:
        """Compute these measures of all finished runs, reading each table of each run once."""
        missing = [measure for measure in dict.fromkeys(measures) if measure not in self._computed]
        for name in dict.fromkeys(measure.table for measure in missing):
            of_table = [measure for measure in missing if measure.table == name]
            columns = list(dict.fromkeys(column for measure in of_table for column in measure.columns))
            self._computed.update(zip(of_table, self._reduce_all(name, of_table, columns), strict=True))

    def measured(self, measure: Measure) -> pd.DataFrame:
        """Return a measure's rows, run after run, with `run`, `arm`, `x` and `seed`; computed now if necessary."""
        self.compute([measure])
        return self._computed[measure]

    def reduce(
        self,
        name: str,
        function: Callable[[pd.DataFrame], pd.DataFrame],
        columns: Sequence[str] | None = None,
        runs: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Apply `function` to the table `name` of each finished run and join the results, run after run.

        Returns an empty frame if no run has the table. Raises Unreadable, a RecordError. Example: docs/guide.md, "From Python".

        Args:
            name: steps, epochs, layers, ...
            function: turns the table of one run into the rows to keep, ideally one; `run`, `arm`, `x` and `seed` are added.
            columns: the columns to read; all by default.
            runs: the rows of `finished` to process; all by default.
        """
        return self._reduce_all(name, [function], columns, runs)[0]

    def _reduce_all(
        self,
        name: str,
        functions: Sequence[Callable[[pd.DataFrame], pd.DataFrame]],
        columns: Sequence[str] | None,
        runs: pd.DataFrame | None = None,
    ) -> list[pd.DataFrame]:
        """Return the joined results of each function, reading each run's table once for all of them."""
        having = self._having(name, runs)
        unreadable: dict[str, str] = {}

        def reduced(run: Run) -> list[pd.DataFrame]:
            try:
                table = reader.read_table(run.folder / paths.table(name), columns)
            except RecordError as error:
                unreadable[run.name] = self.message(error)
                return []
            return [function(table) for function in functions]

        with ThreadPoolExecutor(available_cores()) as pool:
            results = list(pool.map(reduced, [self.all_runs[position] for position in having.index]))
        if unreadable:
            raise Unreadable(unreadable)
        if not results:
            return [pd.DataFrame()] * len(functions)
        return [_joined(frames, having) for frames in zip(*results, strict=True)]

    def table(self, name: str, columns: Sequence[str] | None = None, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return all rows of a table of the finished runs, as `reduce` does: for few runs, or short tables."""
        return self.reduce(name, lambda table: table, columns, runs)

    def has(self, names: Iterable[str]) -> bool:
        """Return whether each of these tables exists for some finished run."""
        return all(len(self._having(name)) for name in names)

    def _having(self, name: str, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the finished runs, or those of `runs`, that have the table `name`."""
        among = self.finished if runs is None else runs
        exists = [(self.all_runs[position].folder / paths.table(name)).is_file() for position in among.index]
        return among[np.array(exists, dtype=bool)]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return self.table("epochs")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Each counted convolution, from the stem to the last before the linear layer, at MOMENTS; `net` is the run's Net."""
        return self._with_net(self.measured(LAYER_MOMENTS))

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """Each block (0: the stem) at MOMENTS, with `net`."""
        return self._with_net(self.measured(BLOCK_MOMENTS))

    @cached_property
    def branches(self) -> pd.DataFrame:
        """Each block with a shortcut at MOMENTS.

        `branch` is the standard deviation of its last convolution's response, `input` the root mean square of the preceding
        block's output, `elements` the size of the stem's output.
        """
        if self.layers.empty or self.blocks.empty:
            return pd.DataFrame()
        with_shortcut = self.runs["run"][~self.runs["shortcut"].isin(("none", "concatenation"))]
        codes = {name: code for code, name in enumerate(with_shortcut)}  # joining by text is slow
        layers, blocks = (
            frame.assign(code=frame["run"].map(codes), moment_code=frame["moment"].map(MOMENTS.index)).dropna(subset=["code"])
            for frame in (self.layers, self.blocks)
        )
        stems = blocks[blocks["block"] == 0].drop_duplicates("code").set_index("code")["elements"]
        count, convolutions = blocks.groupby("code")["block"].max(), layers.groupby("code")["layer"].max()
        per_block = (convolutions - 1) / count
        block = (layers["layer"] - 1) / layers["code"].map(per_block)
        lasts = layers.assign(block=block, branch=layers["response_std"])[(block % 1 == 0) & (block > 0)]
        before = blocks.assign(block=blocks["block"] + 1.0, input=blocks["forward_norm"] / blocks["elements"] ** 0.5)
        merged = lasts.merge(before[["code", "moment_code", "block", "input"]], on=["code", "moment_code", "block"])
        merged["elements"] = merged["code"].map(stems)
        return merged[["run", "arm", "x", "seed", "net", "moment", "block", "branch", "input", "elements"]]

    def _with_net(self, frame: pd.DataFrame) -> pd.DataFrame:
        if frame.empty:
            return frame
        keys = ["schedule.batch_size" if key == "batch_size" else key for key in Net._fields]
        nets = map(Net._make, self.runs[keys].itertuples(index=False))
        return frame.assign(net=frame["run"].map(dict(zip(self.runs["run"], nets, strict=True))))

    @cached_property
    def heat_maps(self) -> pd.DataFrame:
        """`grad_norm` of each counted layer at every probed step, for at most MAPS runs.

        These are the run with the lowest seed for each arm and `x`; if there are more, MAPS of them evenly spread over the arms.
        """
        cells = self._having("layers").sort_values(["arm", "x", "seed"]).drop_duplicates(["arm", "x"])
        count = min(MAPS, len(cells))
        spread = cells.iloc[[number * len(cells) // count for number in range(count)]]
        counted = partial(pd.DataFrame.dropna, subset=["layer"])  # projections have no number
        return self.reduce("layers", counted, ("step", "layer", "grad_norm"), spread)

    @cached_property
    def gradient_norms(self) -> pd.DataFrame:
        """`grad_norm`, ||dL/dW|| of the stem's convolution at every step, of the runs that recorded it.

        Values are medians over at most `phases.STRETCHES` stretches of steps.
        """
        return self.reduce("gradient_norms", thinned, ("step", FIRST)).rename(columns={FIRST: "grad_norm"})

    def _row(self, run: Run, flat: dict[str, Any]) -> dict[str, Any]:
        results = NO_RESULTS
        try:
            if run.name in self.damaged:
                raise RecordError(self.damaged[run.name])
            run.check(optional=paths.PRIVATE)
            status = run.status | {"state": run.state_now} if run.has_status else {"state": states.WAITING}
            if status["state"] in states.FINISHED:
                results = results_at_end(run, status["state"])
                run.environment  # noqa: B018  # read for what it raises
        except (RecordError, OSError) as error:
            status = {"state": states.DAMAGED, "error": self.message(error)}
        facts = {name: status.get(name) for name in ("seconds", "parameters", "warmup_end")}
        about = {"status": status["state"], "error": status.get("error", ""), "run": run.name, "arm": self.arm(flat, self.x)}
        return flat | results | facts | about | {"x": flat[self.x]}


def _joined(frames: Sequence[pd.DataFrame], runs: pd.DataFrame) -> pd.DataFrame:
    """Return one frame per run as a single one, with the columns that tell the runs apart."""
    about = {key: np.repeat(runs[key].to_numpy(), list(map(len, frames))) for key in ("run", "arm", "x", "seed")}
    return pd.concat(frames, ignore_index=True).assign(**about)


LAYER_MOMENTS = Measure(
    "layers", ("step", "layer", "grad_norm", "response_std"), lambda layers: moments(hidden_layers(layers), "layer")
)
BLOCK_MOMENTS = Measure("blocks", ("step", "block", "forward_norm", "grad_norm", "elements"), partial(moments, place="block"))
"""The rows of a probe's table that figures draw."""
