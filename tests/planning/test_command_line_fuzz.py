"""Whatever is typed, a command line is planned or refused in a sentence: nothing else happens, and nothing is written."""

import io
import os
import string
import tempfile
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import describe, run
from harness.config.conf import choices_of
from harness.config.registry import BUILT_IN, ChoiceError
from harness.data import cifar, folders
from harness.launching import launch
from harness.planning import sweep
from harness.planning.arguments import KEYS
from harness.planning.expansion import Product

NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(min_value=0, max_value=300).map(str),
    st.floats().map(repr),
    st.integers(1, 6000).map(lambda digits: "9" * digits),
    st.sampled_from(["-0", "-0.0", "1e400", "nan", "-inf"]),
    st.sampled_from(["-1e400", "1e-400", "0x10", "1_0", "1__0", "²", "٣", "+5", "true", "null"]),
)
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text(string.printable, max_size=20),
    st.text("=,:()[]{}'\"\\$~!@#%^&*| \t\n/.-+0a", max_size=16),
    st.sampled_from(["auto", "none", "cpu", "cuda", "cuda:0", "cuda:9999999999999999"]),
    st.sampled_from(["[]", "{}", "()", "${depth}", "${seed"]),
    st.sampled_from([name for choice in BUILT_IN for name in choice.names]),
    st.sampled_from(["${oc.env:HOME}", "${oc.env:NOT_SET}", "${oc.decode:'[1'}", "${schedule}"]),
    st.sampled_from(["${.}", "${..depth}", "???", "\0", "\udcff"]),
    st.sampled_from([name for group in ("data", "schedule", "variant", "experiment") for name in choices_of(group)]),
)


def nested(values):
    lists = st.lists(values, max_size=4).map(lambda inner: f"[{','.join(inner)}]")
    maps = st.lists(st.tuples(TEXTS, values), max_size=3).map(lambda pairs: f"{{{','.join(f'{k}:{v}' for k, v in pairs)}}}")
    functions = st.sampled_from(
        ["choice", "range", "interval", "glob", "shuffle", "sort", "tag", "int", "float", "str", "bool", "f", ""]
    )
    calls = st.tuples(functions, st.lists(values, max_size=4)).map(lambda call: f"{call[0]}({','.join(call[1])})")
    sweeps = st.lists(values, max_size=5).map(",".join)
    quoted = values.map(lambda value: f"'{value}'") | values.map(lambda value: f'"{value}"')
    return lists | maps | calls | sweeps | quoted


VALUES = st.recursive(NUMBERS | TEXTS, nested, max_leaves=6)
ALL_KEYS = st.sampled_from([*KEYS, *describe.IMAGE_KEYS])
PLAIN = st.tuples(ALL_KEYS, VALUES).map("=".join)
PREFIXED = st.tuples(st.sampled_from(["+", "++", "~", "-", "--", " "]), PLAIN).map("".join)
WORDS = st.tuples(
    st.sampled_from([["-m"], ["-m"], [], ["--json"], ["vs"]]),
    st.lists(PLAIN, max_size=3, unique_by=lambda line: line.partition("=")[0]),
    st.lists(PLAIN | PREFIXED | VALUES, max_size=1),
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
"""Mostly keys that there are, once each, with values of all kinds, and sometimes another word."""


class Planned(Exception):
    """All checks have been passed: what would come now is a training."""


def reached(*given, **more):
    raise Planned


def missing(*given, **more):
    raise ChoiceError("data.root=: is not there")


@pytest.fixture
def only_planned(monkeypatch, tmp_path):
    """Let nothing be trained, fetched, looked for on this machine's disks or written, and no large sweep be planned."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "prepare", reached)
    monkeypatch.setattr(describe, "describe", reached)
    monkeypatch.setattr(describe, "MOST_NETS", 30)
    monkeypatch.setattr(sweep, "Product", partial(Product, most=30))
    monkeypatch.setattr(sweep, "create_results_folder", Path)
    monkeypatch.setattr(cifar, "locate", missing)
    monkeypatch.setattr(folders, "scan", missing)
    yield
    assert not list(tmp_path.iterdir())


def planned_or_refused(main, command, words):
    """Carry out a command line; what is refused is refused on one line."""
    err = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err), suppress(Planned):
        assert main(words) == 2
        *plans, last = err.getvalue().splitlines()
        assert all("planning" in line for line in plans)
        assert last.startswith(f"harness.{command}: ")
        assert len(last) < 2000
        assert last.isprintable()


def examples(count):
    """Return the settings of a test: so many examples, none of which takes 10 s."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=count, deadline=10_000, suppress_health_check=checks)


@examples(100)
@given(WORDS)
def test_a_command_line_is_planned_or_refused(only_planned, words):
    planned_or_refused(run.main, "run", words)
    planned_or_refused(describe.main, "describe", words)


@pytest.mark.slow
@pytest.mark.timeout(900)
@examples(2000)
@given(WORDS)
def test_many_command_lines_are_planned_or_refused(only_planned, words):
    planned_or_refused(run.main, "run", words)


@pytest.mark.slow
@pytest.mark.timeout(900)
@examples(600)
@given(WORDS)
def test_many_nets_are_described_or_refused(only_planned, words):
    planned_or_refused(describe.main, "describe", words)


@pytest.mark.slow
@examples(300)
@given(st.text(max_size=300).filter(lambda text: not text.startswith(("/", "~")) and ".." not in text))
def test_a_results_folder_is_made_or_refused(text):
    with tempfile.TemporaryDirectory() as here, chdir(here), suppress(ChoiceError):
        assert sweep.create_results_folder(text).is_dir()


@contextmanager
def chdir(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
