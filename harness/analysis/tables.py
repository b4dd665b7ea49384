"""Run folders as DataFrames: everything that a report shows is read here, and nothing here needs torch.

Frames of several runs carry, beside a table's own columns, `run`, `seed`, `x` (the value of the key that figures put on
their horizontal axis or give one line each: depth unless only another number varies) and `arm` (the other keys that
vary, as text: the arms of the comparison; a key that does nothing in an arm, as the bias of a gate that it lacks, is left out).

The rows of thousands of runs do not fit into one frame in reasonable memory and time, so a question is put to one run's
table at a time, and only the answers are put together: `reduce` is the door to the tables of probes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.phases import MOMENTS, moments
from harness.analysis.request import Asked
from harness.analysis.theory import Net
from harness.records import paths, reader, states
from harness.records.reader import RecordError
from harness.records.run import Run
from harness.records.schema import OPTIONAL_RESULTS, RESULTS
from harness.system.cores import available_cores

SPANS = 200
"""Points at most of a line that has a value at every step."""
FIRST = "stem.conv"
AT_END = ("train_error", "test_error", "holdout_error", "train_loss")
"""Columns of the last row of epochs.csv that are results."""
CLOSING = 50
"""Steps at the end of a run over which `batch_error` is the mean."""
APART = 5.0
"""Percentage points from which on the error of the batches and that of the evaluation are said to differ."""
MAPS = 24
"""Runs at most whose every probed step is shown."""


class Unreadable(RecordError):
    """Tables of runs that cannot be read: why, by the name of the run."""

    def __init__(self, why: Mapping[str, str]) -> None:
        super().__init__("; ".join(why.values()))
        self.why = why


@dataclass(frozen=True)
class Measure:
    """A statistic of every run: `function` makes of the `columns` of a run's table `table` few rows, at best one.

    Equal measures are taken once, so it is declared at the top of a module, its function too. It should be cheap: of 2,000 runs
    a function of 1 ms takes 2 s.
    """

    table: str
    columns: tuple[str, ...]
    function: Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Tables(Asked):
    """The tables of one sweep folder.

    `damaged` says of runs, by name, why they count as damaged although their files are what their checksums say.
    """

    damaged: Mapping[str, str] = field(default_factory=dict)

    def along(self, key: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame of several runs as it is with `key` on the horizontal axis; unchanged where `key` does not vary."""
        if key not in self.varying or key == self.x or frame.empty:
            return frame
        runs = {run.name: flat for run, flat in zip(self.all_runs, self.flat, strict=True)}
        arms = {name: self.arm(flat, key) for name, flat in runs.items()}
        return frame.assign(x=[runs[name][key] for name in frame["run"]], arm=frame["run"].map(arms))

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a run: every key, the results, `error` (text) of a failed one, `x` and `arm`."""
        with ThreadPoolExecutor(available_cores()) as pool:  # hashing, unpacking and parsing leave the interpreter free
            rows = list(pool.map(self._row, self.all_runs, self.flat))
        return pd.DataFrame(rows, columns=None if rows else [*self.keys, *RESULTS, *OPTIONAL_RESULTS, "error", "arm", "x"])

    def with_lost(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with one row a run, and after them a row for each run whose choices cannot be read."""
        if not self.lost:
            return table
        rows = pd.DataFrame({"run": list(self.lost), "status": states.DAMAGED}, dtype=object).reindex(columns=table.columns)
        return pd.concat([table.astype(object), rows], ignore_index=True)

    @cached_property
    def troubles(self) -> dict[str, str]:
        """What is to be said of every run that came to no result, by name: its state, and why."""
        open_runs = self.runs[~self.runs["status"].isin(states.FINISHED)]
        found = {row.run: f"{row.status}{': ' if row.error else '.'}{row.error}" for row in open_runs.itertuples()}
        return found | {name: f"{states.DAMAGED}: {why}" for name, why in self.lost.items()}

    @cached_property
    def results(self) -> list[str]:
        """The columns of results, of the optional ones those that some run has."""
        optional = [name for name in OPTIONAL_RESULTS if self.runs[name].notna().any()]
        after = list(RESULTS).index("batch_error") + 1
        return [*list(RESULTS)[:after], *optional, *list(RESULTS)[after:]]

    @cached_property
    def runs_table(self) -> pd.DataFrame:
        """What is written as runs.csv: every key, then the results."""
        table = self.runs[[*self.keys, *self.results]].copy()
        table["schedule.milestones"] = [choices["schedule.milestones"] for choices in self.flat_as_asked]
        return self.with_lost(table)

    @cached_property
    def apart(self) -> pd.DataFrame:
        """The done runs whose batches and training images differ in error by more than `APART` points at the end."""
        done = self.runs[self.runs["status"] == states.DONE]
        return done[(done["batch_error"] - done["train_error"]).abs() > APART]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The runs that came to a result, diverged ones included."""
        return self.runs[self.runs["status"].isin(states.FINISHED)]

    @cached_property
    def _taken(self) -> dict[Measure, pd.DataFrame]:
        return {}

    def take(self, measures: Iterable[Measure]) -> None:
        """Take all these measures of the finished runs, reading each table of each run once."""
        wanted = [measure for measure in dict.fromkeys(measures) if measure not in self._taken]
        for name in dict.fromkeys(measure.table for measure in wanted):
            together = [measure for measure in wanted if measure.table == name]
            columns = list(dict.fromkeys(column for measure in together for column in measure.columns))
            self._taken.update(zip(together, self._reduce_all(name, [_of(one) for one in together], columns), strict=True))

    def measured(self, measure: Measure) -> pd.DataFrame:
        """Return a measure's rows, run after run, with `run`, `arm`, `x` and `seed`; taken now if it was not before."""
        self.take([measure])
        return self._taken[measure]

    def reduce(
        self,
        name: str,
        function: Callable[[pd.DataFrame], pd.DataFrame],
        columns: Sequence[str] | None = None,
        runs: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return what `function` makes of each finished run's table `name` (steps, epochs, layers, ...), run after run.

        `function` is given one run's table at a time, only its `columns` if they are named, and returns the rows to keep,
        at best few: a statistic is a frame of one row. To them `run`, `arm`, `x` and `seed` are added. `runs` are the
        rows of `finished` to go through, all unless given. Empty where no run has the table. Raises Unreadable, a
        RecordError, where tables cannot be read.

            def early(layers):
                first = layers[layers["step"].between(1, 10) & (layers["layer"] == 1)]
                return pd.DataFrame({"early": [first["grad_norm"].median()]})

            tables.reduce("layers", early, columns=("step", "layer", "grad_norm"))
        """
        return self._reduce_all(name, [function], columns, runs)[0]

    def _reduce_all(
        self,
        name: str,
        functions: Sequence[Callable[[pd.DataFrame], pd.DataFrame]],
        columns: Sequence[str] | None,
        runs: pd.DataFrame | None = None,
    ) -> list[pd.DataFrame]:
        """Return what each function makes of each run's table, which is read once for all of them."""
        having = self._having(name, runs)
        unreadable: dict[str, str] = {}

        def reduced(run: Run) -> list[pd.DataFrame]:
            try:
                table = reader.read_table(run.folder / paths.table(name), columns)
            except RecordError as error:
                unreadable[run.name] = self.words(error)
                return []
            return [function(table) for function in functions]

        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(reduced, [self.all_runs[place] for place in having.index]))
        if unreadable:
            raise Unreadable(unreadable)
        return [_joined([frames[place] for frames in found], having) for place in range(len(functions))]

    def table(self, name: str, columns: Sequence[str] | None = None, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return all rows of a table of all finished runs, or of some, as `reduce` does: for few runs, or short tables."""
        return self.reduce(name, lambda table: table, columns, runs)

    def has(self, names: Iterable[str]) -> bool:
        """Return whether of each of these tables some finished run has one."""
        return all(len(self._having(name)) for name in names)

    def _having(self, name: str, runs: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the finished runs, or those of `runs`, that have the table `name`."""
        among = self.finished if runs is None else runs
        files = [self.all_runs[place].folder / paths.table(name) for place in among.index]
        return among[np.array([path.is_file() for path in files], dtype=bool)]

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return self.table("epochs")

    @cached_property
    def layers(self) -> pd.DataFrame:
        """Each counted convolution, from the stem to the last before the linear layer, at the moments of
        `harness.analysis.phases`.

        `net` is the run's `harness.analysis.theory.Net`.
        """
        return self._with_net(self.measured(OF_LAYERS))

    @cached_property
    def blocks(self) -> pd.DataFrame:
        """Each block, 0 being the stem, at the moments of `harness.analysis.phases`, with `net`."""
        return self._with_net(self.measured(OF_BLOCKS))

    @cached_property
    def branches(self) -> pd.DataFrame:
        """Each block with a shortcut at the same moments: `branch` is the standard deviation of its last convolution's response,
        `input` the root mean square of what the block before puts out, `elements` those of the stem's output."""
        if self.layers.empty or self.blocks.empty:
            return pd.DataFrame()
        joined = self.runs["run"][~self.runs["shortcut"].isin(("none", "concatenation"))]
        layers, blocks = (_with_codes(frame[frame["run"].isin(joined)]) for frame in (self.layers, self.blocks))
        stems = blocks[blocks["block"] == 0].drop_duplicates("code").set_index("code")["elements"]
        count, convolutions = blocks.groupby("code")["block"].max(), layers.groupby("code")["layer"].max()
        each = (convolutions - 1) / count
        of_block = (layers["layer"] - 1) / layers["code"].map(each)
        lasts = layers.assign(block=of_block, branch=layers["response_std"])[(of_block % 1 == 0) & (of_block > 0)]
        before = blocks.assign(block=blocks["block"] + 1.0, input=blocks["forward_norm"] / blocks["elements"] ** 0.5)
        found = lasts.merge(before[["code", "moment_code", "block", "input"]], on=["code", "moment_code", "block"])
        found = found.assign(elements=found["code"].map(stems))
        return found[["run", "arm", "x", "seed", "net", "moment", "block", "branch", "input", "elements"]]

    def _with_net(self, frame: pd.DataFrame) -> pd.DataFrame:
        if frame.empty:
            return frame
        keys = [*(key for key in Net._fields if key != "batch_size"), "schedule.batch_size"]
        nets = {row["run"]: Net(*(row[key] for key in keys)) for row in self.runs[["run", *keys]].to_dict("records")}
        return frame.assign(net=frame["run"].map(nets))

    @cached_property
    def heat_maps(self) -> pd.DataFrame:
        """Gradient norm of each counted layer at every probed step, of MAPS runs at most.

        There is one run for each arm and `x`, that of the lowest seed; of more than MAPS those are kept that lie evenly
        spread over the arms.
        """
        cells = self._having("layers").sort_values(["arm", "x", "seed"]).drop_duplicates(["arm", "x"])
        count = min(MAPS, len(cells))
        spread = cells.iloc[[place * len(cells) // count for place in range(count)]]
        return self.reduce("layers", _counted, ("step", "layer", "grad_norm"), spread)

    @cached_property
    def gradient_norms(self) -> pd.DataFrame:
        """||dL/dW|| of the stem's convolution at every step, of the runs that kept it: medians over SPANS stretches of steps."""
        return self.reduce("gradient_norms", _thinned, ("step", FIRST))

    def _row(self, run: Run, flat: dict[str, Any]) -> dict[str, Any]:
        results: dict[str, Any] = dict.fromkeys(AT_END, float("nan")) | {"batch_error": float("nan"), "overflowed": None}
        try:
            if run.name in self.damaged:
                raise RecordError(self.damaged[run.name])
            run.check(but=paths.PRIVATE)
            status = run.status | {"state": run.state_now} if run.has_status else {"state": states.WAITING}
            if status["state"] in states.FINISHED:
                results |= _at_end(run, status["state"])
                run.environment  # noqa: B018  # read for what it raises
        except (RecordError, OSError) as error:
            status = {"state": states.DAMAGED, "error": self.words(error)}
        facts = {name: status.get(name) for name in ("seconds", "parameters", "warmup_end")}
        about = {"status": status["state"], "error": status.get("error", ""), "run": run.name}
        return flat | results | facts | about | {"arm": self.arm(flat, self.x), "x": flat[self.x]}


def _at_end(run: Run, state: str) -> dict[str, Any]:
    """Return the results of a finished run that are in its tables; raises RecordError where it has none."""
    row = reader.read_table(run.folder / paths.EPOCHS, [*AT_END, "test_loss", "holdout_loss"]).iloc[-1]
    for name in AT_END[:3]:
        if not (0 <= row[name] <= 100) and (name != "holdout_error" or math.isfinite(row[name])):
            raise RecordError(f"{run.folder / paths.EPOCHS}: {name}: must be a number from 0 to 100 in the last row")
    parts = [name.removesuffix("_error") for name in AT_END[:3] if math.isfinite(row[name])]
    overflowed = [part for part in parts if state == states.DONE and not math.isfinite(row[f"{part}_loss"])]
    found = {name: float(row[name]) for name in AT_END} | {"overflowed": " ".join(overflowed) or None}
    if (run.folder / paths.STEPS).is_file():
        errors = reader.read_table(run.folder / paths.STEPS, ["error"], last=CLOSING)["error"]
        if not errors.between(0, 100).all():
            raise RecordError(f"{run.folder / paths.STEPS}: error: must be a number from 0 to 100")
        found["batch_error"] = float(errors.mean())
    return found


def _of(measure: Measure) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return a measure's function, given only the measure's own columns of a table that has more."""
    return lambda table: measure.function(table[list(measure.columns)])


def _joined(frames: Sequence[pd.DataFrame], runs: pd.DataFrame) -> pd.DataFrame:
    """Return frames of these runs as one, with the columns that tell them apart."""
    if not frames:
        return pd.DataFrame()
    lengths = [len(frame) for frame in frames]
    about = {key: np.repeat(runs[key].to_numpy(), lengths) for key in ("run", "arm", "x", "seed")}
    return pd.concat(frames, ignore_index=True).assign(**about)


def _with_codes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of moments with numbers for its runs and moments: text is slow to join by."""
    codes = {name: code for code, name in enumerate(sorted(set(frame["run"])))}
    return frame.assign(
        code=frame["run"].map(codes), moment_code=frame["moment"].map({name: code for code, name in enumerate(MOMENTS)})
    )


def _counted(layers: pd.DataFrame) -> pd.DataFrame:
    """Leave out projections, which have no number."""
    return layers[layers["layer"].notna()]


def _of_convolutions(layers: pd.DataFrame) -> pd.DataFrame:
    counted = layers[layers["layer"].notna() & (layers["kind"] == "conv")]
    return moments(counted.drop(columns="kind"), "layer")


def _thinned(norms: pd.DataFrame) -> pd.DataFrame:
    """Return the median of `norm` in stretches of steps, each as many times the last as every other; alone while they are few."""
    edges = np.unique(np.geomspace(1, len(norms) + 1, SPANS + 1).astype(int)) - 1
    stretch = np.searchsorted(edges, norms["step"], side="right")
    return norms.groupby(stretch).median().rename(columns={FIRST: "norm"})


OF_LAYERS = Measure("layers", ("step", "layer", "kind", "grad_norm", "response_std"), _of_convolutions)
OF_BLOCKS = Measure("blocks", ("step", "block", "forward_norm", "grad_norm", "elements"), partial(moments, place="block"))
DRAWN = {"layers": OF_LAYERS, "blocks": OF_BLOCKS}
"""What figures draw of the tables of probes, by the name of the frame."""
