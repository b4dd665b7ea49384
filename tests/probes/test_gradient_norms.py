"""Gradient norms at every step: they equal those of probes, change nothing else, and damaged files are named."""

import numpy as np
import pandas as pd
import pytest

from harness import verify
from harness.analysis import phases
from harness.config.run import RunConfig
from harness.records import paths, reader, states, writer
from harness.records.reader import RecordError
from harness.training.train import train
from support.helpers import tiny, tiny_schedule

EVERY = tiny(gradient_norms="every", shortcut="projection", schedule=tiny_schedule(steps=20))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(EVERY, tmp_path_factory.mktemp("results"))


def norms_of(run, columns=None):
    return reader.read_table(run.folder / paths.GRADIENT_NORMS, columns)


def test_every_step_has_the_norm_of_every_layer_equal_to_that_of_the_probe(run):
    norms = norms_of(run)
    assert norms["step"].tolist() == list(range(20))
    assert list(norms.columns) == ["step", *run.layers["name"].unique()]  # projections too, which have no number
    assert (norms.drop(columns="step") > 0).all(axis=None)
    probed = run.layers[run.layers["step"] < 20]
    assert probed["step"].nunique() < 20
    for row in probed.itertuples():
        assert norms[row.name][row.step] == np.float32(row.grad_norm)


def test_they_change_nothing_else(run, tmp_path):
    bare = train(tiny(shortcut="projection", schedule=EVERY.schedule), tmp_path)
    assert bare.name != run.name
    assert not (bare.folder / paths.GRADIENT_NORMS).exists()
    for name in (paths.STEPS, paths.WEIGHTS, paths.table("layers"), paths.table("blocks")):
        assert (bare.folder / name).read_bytes() == (run.folder / name).read_bytes(), name


def test_runs_without_the_key_keep_their_hashes():
    """The first is that of results/findings/2026-11-23-demo."""
    assert RunConfig(20, "none", device="cpu").run_name() == "digits-none-20-seed0-1c414cc199"


def test_a_diverged_run_has_a_norm_for_each_of_its_steps(tmp_path):
    wild = tiny(norm="none", depth=26, gradient_norms="every", schedule=tiny_schedule(steps=60, learning_rate=1000.0))
    run = train(wild, tmp_path)
    assert run.state == states.DIVERGED
    assert norms_of(run)["step"].tolist() == run.steps["step"].tolist()


def test_some_layers_are_read_without_the_others(run):
    assert list(norms_of(run, ["stem.conv"]).columns) == ["stem.conv"]
    assert norms_of(run, ["linear", "step"]).equals(norms_of(run)[["linear", "step"]])
    with pytest.raises(RecordError, match="lacks the column no_such_layer"):
        norms_of(run, ["no_such_layer"])


def test_a_damaged_file_is_named(run, tmp_path):
    path, again = run.folder / paths.GRADIENT_NORMS, train(EVERY, tmp_path)
    whole = path.read_bytes()
    assert (again.folder / paths.GRADIENT_NORMS).read_bytes() == whole
    run.check()
    damaged = tmp_path / paths.GRADIENT_NORMS
    for content in (b"", whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]):
        damaged.write_bytes(content)
        with pytest.raises(RecordError, match=r"gradient_norms\.npz: cannot be read"):
            reader.read_table(damaged)
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(RecordError, match=r"gradient_norms\.npz: damaged: its checksum"):
        run.check()
    path.write_bytes(whole)


def test_verification_compares_them_bit_by_bit(run, tmp_path):
    again = train(EVERY, tmp_path)
    assert verify.exact_difference(run, again) is None
    norms = norms_of(again).drop(columns="step")
    norms.loc[7, "linear"] = np.nextafter(norms.loc[7, "linear"], np.float32(np.inf))
    writer.write_vectors(again.folder / paths.GRADIENT_NORMS, {name: norms[name].to_numpy() for name in norms})
    assert verify.exact_difference(run, again).startswith("gradient_norms.npz differs at step 7, linear: ")


def test_a_curve_of_64_000_steps_is_thinned_to_few_points_and_keeps_the_first_steps():
    norms = pd.DataFrame({"step": np.arange(64_000), "grad_norm": 1 / np.arange(1, 64_001)})
    thinned = phases.thinned(norms)
    assert len(thinned) <= phases.STRETCHES
    assert thinned["step"].head(10).tolist() == list(range(10))
    assert thinned["step"].max() > 60_000
    product = thinned["grad_norm"] * (thinned["step"] + 1)  # 1 at every step; a median is at most half a stretch away
    assert product.between(0.99, 1.01).all()
