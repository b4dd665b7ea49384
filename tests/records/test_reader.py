"""Reading a record returns a value of the expected form or raises RecordError, whatever the file contains."""

import gzip
import io
import json
import math
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import measure_report
from harness import report, status, verify
from harness.analysis.tables import Tables
from harness.records import paths, progress, reader, schema, states, writer
from harness.records.reader import RecordError
from harness.records.run import Run, conclude, find_runs
from harness.reporting import build, index
from harness.training import checkpoint
from support.fabricate import sweep

LAYERS = paths.probe_table("layers")
VERIFIED = {"runs": [{"run": "a-run", "kind": "exact", "same": True, "found": "the same"}]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a results folder with a file of every kind: a sweep of two runs and its report."""
    results = tmp_path_factory.mktemp("whole")
    names = measure_report.generate(results, measure_report.configs(2, depth=8, steps=12, rates=(0.1,)), [0, 1, 12], [12])
    shutil.rmtree(results / "generated")
    for name in names:
        run = Run(results / paths.RUNS / name)
        writer.write_vectors(run.folder / paths.GRADIENT_NORMS, {"stem.conv": np.ones(12, np.float32)})
        writer.write_json(run.folder / paths.CONFIG, run.config | {"gradient_norms": "every"})
        conclude(run, states.DONE, step=12, steps=12, seconds=1.0, parameters=9)
    folder = sweep(results, names).folder
    writer.write_json(folder / paths.VERIFICATION, VERIFIED)
    assert build.conclude(folder) == 0
    return results


def files(results):
    """Return one file of every kind: those of the first run and those of the sweep."""
    (folder,) = (results / paths.SWEEPS).iterdir()
    run = paths.runs_of(folder) / reader.read_json(folder / paths.SWEEP)["runs"][0]
    in_run = (paths.CONFIG, paths.STATUS, paths.ENVIRONMENT, paths.STEPS, paths.EPOCHS, LAYERS, paths.GRADIENT_NORMS)
    in_sweep = (paths.SWEEP, paths.VERIFICATION, paths.VERDICTS, paths.RUNS_TABLE, paths.REPORT_MARKDOWN)
    return [*(run / name for name in in_run), *(folder / name for name in in_sweep)]


def read(path):
    """Read a file with the reader of its format; raises only RecordError."""
    if path.suffix == ".json":
        return reader.read_json(path)
    return reader.read_text(path) if path.suffix == ".md" else reader.read_table(path)


# --- damage made by hand: contents and the message they are refused with, which names the file ---

JSON = {
    "nested": ("[" * 100_000 + "]" * 100_000, "cannot be read"),
    "nested in an unknown key": ('{"state": "done", "more": ' + "[" * 50 + "]" * 50 + "}", "nested more than 32 levels deep"),
    "NaN": ('{"state": "done", "seconds": NaN}', "NaN is not a finite number"),
    "infinity": ('{"state": "done", "loss": -Infinity}', "not a finite number"),
    "a float beyond all": ('{"state": "done", "loss": 1e999}', "not a finite number"),
    "5,000 digits": ('{"state": "done", "step": ' + "9" * 5000 + "}", "larger than any number of a record"),
    "2**53 + 1": ('{"state": "done", "step": 9007199254740993}', "larger than any number"),
    "a key twice": ('{"state": "done", "state": "failed"}', "'state' is repeated"),
    "no UTF-8": (b'{"state": "\xff"}', "cannot be read"),
    "half a character": ('{"state": "done", "error": "\\ud800"}', "invalid Unicode"),
    "no state": ("{}", "state: missing"),
    "an unknown state": ('{"state": "asleep"}', "state: must be waiting, running, .* or killed, not 'asleep'"),
    "text for a number": ('{"state": "done", "seconds": "x"}', "seconds: must be a number, at least 0, not 'x'"),
    "truth for a number": ('{"state": "done", "step": true}', "step: must be a whole number, at least 0, not true"),
    "a negative time": ('{"state": "done", "seconds": -1}', "seconds: must be a number, at least 0, not -1"),
    "a path for a name": ('{"state": "done", "sha256": {"../../x": "0"}}', "without a path, not '../../x'"),
    "a list": ("[]", "not a JSON object"),
}


@pytest.mark.parametrize(("content", "words"), JSON.values(), ids=JSON)
def test_a_status_is_refused_by_file_and_key(content, words, tmp_path):
    path = tmp_path / paths.STATUS
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecordError, match=rf"status\.json: .*{words}"):
        reader.read_json(path)


@pytest.mark.parametrize("name", ["../../../etc", "/etc", "a/b", "", ".", "..", ".hidden", "a\0b", "x" * 300])
def test_the_name_of_a_run_is_no_path(name, tmp_path):
    (tmp_path / paths.SWEEP).write_text(json.dumps({"runs": ["fine", name]}))
    with pytest.raises(RecordError, match=r"sweep\.json: runs\[1\]: must be the name of a file or folder, without a path"):
        Tables(tmp_path).all_runs  # noqa: B018  # read for what it raises
    (tmp_path / paths.VERIFICATION).write_text(json.dumps({"runs": [VERIFIED["runs"][0] | {"run": name}]}))
    with pytest.raises(RecordError, match=r"verification\.json: runs\[0\]\.run"):
        reader.read_json(tmp_path / paths.VERIFICATION)


TABLES = {
    "text in a column of numbers": ("0,0,0.1,abc,50\n", "loss: must be a number, not 'abc'"),
    "truth in a column of numbers": ("0,0,0.1,True,50\n", "loss: must be a number"),
    "half a step": ("0.5,0,0.1,1,50\n", "step: must be a whole number"),
    "no step": (",0,0.1,1,50\n", "step: must be a whole number"),
    "a header alone": ("", "has no rows"),
    "a row too short": ("0,0,0.1\n", "rows differ in length"),
    "a row too long": ("0,0,0.1,1,50,7\n", "rows differ in length"),
    "a row too long and one too short": ("0,0,0.1,1,50,7\n1,0,0.1,1\n", "rows differ in length"),
    "no UTF-8": (b"0,0,0.1,\xff,50\n", "cannot be read"),
}


@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
@pytest.mark.parametrize(("rows", "words"), TABLES.values(), ids=TABLES)
def test_a_table_is_refused_by_file_and_column(rows, words, tmp_path):
    path = tmp_path / paths.STEPS
    path.write_bytes(b"step,epoch,learning_rate,loss,error\n" + (rows if isinstance(rows, bytes) else rows.encode()))
    with pytest.raises(RecordError, match=rf"steps\.csv: .*{words}"):
        reader.read_table(path)


def test_numbers_where_text_belongs_are_text(tmp_path):
    pd.DataFrame({"name": [1, 2], "value": [0.5, 1.5]}).to_csv(tmp_path / "own.csv", index=False)
    assert reader.read_table(tmp_path / "own.csv")["name"].tolist() == ["1", "2"]


def vectors(path, *arrays, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as archive:
        for number, array in enumerate(arrays):
            packed = io.BytesIO()
            np.save(packed, array, allow_pickle=True)
            archive.writestr(f"layer{number}.npy", packed.getvalue())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([np.ones(3)], "32-bit"),
        ([np.ones((3, 2), np.float32)], "other content than vectors"),
        ([np.float32(1)], "other content than vectors"),
        ([np.array([{"a": print}], dtype=object)], "allow_pickle=False"),
        ([np.ones(3, np.float32), np.ones(4, np.float32)], "vectors differ in length"),
        ([], "no vectors"),
    ],
)
def test_vectors_of_another_form_are_refused(arrays, words, tmp_path):
    vectors(tmp_path / paths.GRADIENT_NORMS, *arrays)
    with pytest.raises(RecordError, match=rf"gradient_norms\.npz: .*{words}"):
        reader.read_table(tmp_path / paths.GRADIENT_NORMS)


def test_a_vector_takes_no_more_memory_than_its_file(tmp_path):
    """One whose header claims more numbers than it has, and one that is compressed."""
    path = tmp_path / paths.GRADIENT_NORMS
    vectors(path, np.ones(1000, np.float32))
    path.write_bytes(path.read_bytes().replace(b"'shape': (1000,), ", b"'shape': (9999999,"))
    with pytest.raises(RecordError):
        reader.read_table(path)
    vectors(path, np.zeros(10**6, np.float32), compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(RecordError, match="is compressed"):
        reader.read_table(path)


@pytest.mark.parametrize("name", [paths.STATUS, paths.STEPS, LAYERS, paths.GRADIENT_NORMS, paths.REPORT_MARKDOWN])
def test_only_regular_files_are_opened(name, tmp_path):
    path = tmp_path / name
    for make, words in (
        (lambda: os.mkfifo(path), "regular"),
        (lambda: path.symlink_to("/dev/zero"), "regular"),
        (path.mkdir, "folder"),
        (lambda: path.symlink_to(path), "cannot be read"),
    ):
        make()
        with pytest.raises(RecordError, match=words):
            read(path)
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(RecordError, match="missing"):
        read(path)


def test_a_bomb_is_unpacked_no_further_than_a_table_can_be_large(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_TABLE", 10_000)
    (tmp_path / LAYERS).write_bytes(gzip.compress(b"step,layer\n" + b"0,0\n" * 10**6))
    with pytest.raises(RecordError, match="too large"):
        reader.read_table(tmp_path / LAYERS)
    monkeypatch.setattr(reader, "MAX_DOCUMENT", 1000)
    (tmp_path / paths.STATUS).write_text('{"state": "done", "error": "' + "x" * 2000 + '"}')
    with pytest.raises(RecordError, match="too large"):
        reader.read_json(tmp_path / paths.STATUS)


def test_what_the_largest_nets_leave_is_within_the_bounds():
    """1,202 layers and 64,000 steps: layers.csv with 61 probed steps, steps.csv, and a checkpoint with every gradient norm."""
    row = len(
        "64000,1202,stages.2.199.conv2,conv," + ",".join(["0.12345678901234567"] * 4) + ",36864,36864,0.12345678901234567\n"
    )
    assert 61 * 1202 * row < reader.MAX_TABLE / 10
    assert 64_000 * len("64000,163,0.1,0.12345678901234567,99.21875\n") < reader.MAX_TABLE / 10
    assert reader.MAX_CHECKPOINT / 10 > 3 * 4 * 19_400_000 + 4 * 1202 * 64_000


def test_what_is_younger_than_a_record_is_allowed_and_what_it_lacks_has_defaults(whole):
    config = files(whole)[0]
    content = json.loads(config.read_text())
    assert reader.read_json(config) == {key: value for key, value in content.items() if key != "format"}
    short = {key: content[key] for key in ("depth", "shortcut", "seed", "data", "schedule")} | {"from the future": [1]}
    other = config.parent.parent / "short"
    other.mkdir()
    (other / paths.CONFIG).write_text(json.dumps(short))
    assert Run(other).config["norm"] == "batch"
    assert Run(other).config["from the future"] == [1]
    shutil.rmtree(other)


def test_a_damaged_checkpoint_is_a_record_error(tmp_path):
    import torch

    path = tmp_path / paths.CHECKPOINT
    checkpoint.save(path, {"step": 3, "weights": torch.ones(3)})
    assert checkpoint.load(path)["step"] == 3
    import hashlib

    path.write_bytes(checkpoint.MAGIC + hashlib.sha256(b"junk").digest() + b"junk")
    with pytest.raises(RecordError, match=r"checkpoint\.pt: cannot be read"):
        checkpoint.load(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordError, match="regular"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", schema.KEYS)
def test_every_key_that_is_described_is_checked(name):
    content = schema.SCHEMAS[name]
    assert content.keys.keys() == schema.KEYS[name].keys()
    assert set(content.optional) <= content.keys.keys()


# --- random damage ---

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "..", "a/b", "-1", "done", "NaN", "\x00", "$\\frac{$", "x" * 300]),
)
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5
)


@st.composite
def altered_json(draw, text):
    """Draw a JSON text with one value replaced or deleted, at any depth, or with an extra key."""
    content = json.loads(text)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.integers(0, 4)) == 0:
            del place[key]
        else:
            place[key] = draw(VALUES)
        break
    depth = draw(st.sampled_from([0, 0, 0, 0, 31, 33, 2000]))
    return json.dumps(content)[:-1].rstrip() + (f', "more": {"[" * depth}{"]" * depth}}}' if depth and content else "}")


@st.composite
def altered_table(draw, text):
    """Draw a CSV text with one cell replaced, or with one row cut short, repeated or dropped, or with nothing but the header."""
    rows = [line.split(",") for line in text.splitlines()]
    row = draw(st.integers(0, len(rows) - 1))
    column = draw(st.integers(0, len(rows[row]) - 1))
    how = draw(st.sampled_from(["cell", "cell", "cell", "cut", "double", "drop", "head"]))
    if how == "cell":
        odd = ["", "abc", "nan", "inf", "-inf", "1e999", "-1", "1.5", "True", "9" * 30, '"', "0x1", " 1", "1e308", "\x00", "é"]
        rows[row][column] = draw(st.sampled_from(odd) | st.text(max_size=4))
    elif how == "cut":
        rows[row] = rows[row][:column]
    elif how == "double":
        rows.insert(row, rows[row] * draw(st.integers(1, 2)))
    elif how == "drop":
        del rows[row]
    else:
        rows = rows[:1]
    return "\n".join(",".join(cells) for cells in rows) + draw(st.sampled_from(["\n", "", "\n\n", "\r\n"]))


@st.composite
def altered(draw, path):
    """Draw the damaged bytes of a file: its content, its bytes or its compressed text altered, or unrelated bytes."""
    before = path.read_bytes()
    unpacked = gzip.decompress(before) if path.suffix == ".gz" else before
    how = draw(st.sampled_from(["content"] * 6 + ["bytes", "bytes", "cut", "packed", "anything", "another", "empty"]))
    if how == "content" and path.suffix == ".json":
        return draw(altered_json(unpacked.decode())).encode("utf-8", "surrogatepass")
    if how == "content" and path.suffix in (".csv", ".gz"):
        text = draw(altered_table(unpacked.decode())).encode("utf-8", "surrogatepass")
        return gzip.compress(text) if path.suffix == ".gz" else text
    if how == "packed" and path.suffix == ".gz":
        flipped = bytearray(unpacked)
        flipped[draw(st.integers(0, len(flipped) - 1))] = draw(st.integers(0, 255))
        return gzip.compress(bytes(flipped))
    if how == "cut":
        return before[: draw(st.integers(0, len(before)))]
    if how in ("anything", "empty"):
        return draw(st.binary(max_size=200)) if how == "anything" else b""
    if how == "another":
        return b"[" * 100_000
    flipped = bytearray(before)
    for _ in range(draw(st.integers(1, 4))):
        flipped[draw(st.integers(0, len(flipped) - 1))] = draw(st.integers(0, 255))
    return bytes(flipped)


def every_reader(results, data):
    """Alter one file and read it as its callers do; a RecordError must name its folder, in one line."""
    path = data.draw(st.sampled_from(files(results)))
    before, message = path.read_bytes(), str(path)
    try:
        path.write_bytes(data.draw(altered(path)))
        try:
            read(path)
            if path.name in (paths.STATUS, paths.CONFIG):
                run = Run(path.parent)
                assert math.isfinite(progress.read_progress(next((results / paths.SWEEPS).iterdir()))[0].work)
                run.check()
                assert isinstance(run.checked_files, tuple)
        except RecordError as error:
            message = str(error)
        assert str(path.parent) in message
        assert "\n" not in message
    finally:
        path.write_bytes(before)


FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=3000)
ODD_WARNINGS = pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning", "ignore::RuntimeWarning")


@ODD_WARNINGS
@FEW
@given(data=st.data())
def test_a_value_or_a_record_error(whole, data):
    every_reader(whole, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@ODD_WARNINGS
@MANY
@given(data=st.data())
def test_a_value_or_a_record_error_many_times(whole, data):
    every_reader(whole, data)


def update_checksums(path):
    """Update a run's checksums to its altered files, so that only the contents reveal the damage."""
    try:
        run = Run(path.parent)
        status = {key: value for key, value in run.status.items() if key not in ("state", "sha256")}
        conclude(run, run.state, **status)
    except RecordError:
        return


def every_command(results, data, capsys):
    """Alter one file and run every command that reads sweeps: each must return an exit code, never raise."""
    path = data.draw(st.sampled_from(files(results)))
    folder = next((results / paths.SWEEPS).iterdir())
    before = {file: file.read_bytes() for file in files(results)}
    try:
        path.write_bytes(data.draw(altered(path)))
        if path.parent.parent.name == paths.RUNS and path.name != paths.STATUS and data.draw(st.booleans()):
            update_checksums(path)
        assert status.main([str(folder)]) in (0, 2)
        index.build(results)
        assert report.main([str(folder)]) in (0, 1, 2)
        verify.sample(find_runs(folder), 1) if path.name != paths.SWEEP else None
        capsys.readouterr()
    finally:
        for file, content in before.items():
            file.write_bytes(content)


@ODD_WARNINGS
@settings(FEW, max_examples=4)
@given(data=st.data())
def test_every_command_ends_with_an_exit_code(whole, data, capsys):
    every_command(whole, data, capsys)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@ODD_WARNINGS
@settings(MANY, max_examples=30)
@given(data=st.data())
def test_every_command_ends_with_an_exit_code_many_times(whole, data, capsys):
    every_command(whole, data, capsys)
