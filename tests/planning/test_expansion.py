"""What a command line asks for: the same configs as Hydra gives job by job, counted before anything is expanded."""

import math

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.config.conf import conf_folder
from harness.config.registry import ChoiceError
from harness.planning.arguments import parse
from harness.planning.expansion import Product, count

NUMBERS = st.integers(-3, 300).map(str) | st.sampled_from(["0.1", "1e-05", "1E20", "-2.5", ".5", "1_000", "inf", "nan"])
WORDS = st.sampled_from(
    [
        *(
            "none",
            "auto",
            "true",
            "False",
            "null",
            "a b",
            "a:b",
            "'x,y'",
            '"a=b"',
            "''",
            "x\\,y",
            "'it\\'s'",
            '"a\\\\"',
            "/a/b.c",
        ),
        *("layer_wise", "[]", "[1,2]", "[a,'b c']", "[[1],null]", "a$b", "'${depth}'", "${depth}", "${schedule.steps}"),
    ]
)
VALUES = NUMBERS | WORDS
SIMPLE = st.lists(VALUES, min_size=2, max_size=4).map(",".join)
SWEPT = st.one_of(
    SIMPLE,
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: f"choice({','.join(values)})"),
    st.lists(NUMBERS, min_size=2, max_size=4).map(lambda values: f"sort({','.join(values)})"),
    st.lists(st.integers(0, 9).map(str), min_size=2, max_size=4).map(lambda values: f"sort({','.join(values)},reverse=true)"),
    st.tuples(st.integers(0, 5), st.integers(6, 12), st.integers(1, 3)).map(lambda bounds: f"range{bounds}".replace(" ", "")),
    st.sampled_from(["range(3)", "range(9,2,-3)", "range(0,1,0.25)", "range(2.5)", "tag(t,range(2))", "sort(range(5,1))"]),
    st.sampled_from(["float(range(1,4))", "int(2.5,3.5)", "str(1,2)", "str(choice(1,a))"]),
)
KEYS = (
    "depth",
    "seed",
    "width",
    "gate_bias",
    "probes",
    "device",
    "schedule.steps",
    "schedule.milestones",
    "data.root",
    "results",
)


def overrides():
    """Return a strategy of command lines: some groups, some keys, in any order, each once."""
    groups = {
        "data": ["digits", "cifar10", "digits,cifar100", "glob(cifar*)"],
        "schedule": ["cifar10", "cifar10_warmup,digits", "glob(*,exclude=[image_folder])"],
        "variant": ["he2015_plain_110", "none,he2016_dropout", "glob(he2016_exclusive*)"],
    }
    given = [st.sampled_from(names).map(f"{group}={{}}".format) for group, names in groups.items()]
    given += [(VALUES | SWEPT).map(f"{key}={{}}".format) for key in KEYS]
    chosen = st.lists(st.sampled_from(given), max_size=5, unique_by=id)
    return chosen.flatmap(lambda some: st.tuples(*some)).map(list).filter(lambda lines: asked(lines) <= 8)


def asked(lines):
    try:
        return math.prod(count(override) for override in parse(lines))
    except ChoiceError:
        return 0


def by_hydra(lines):
    """Return what Hydra composes for every job of its own sweep, or None where it refuses one or there is none."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        try:
            jobs = BasicSweeper.split_arguments(OverridesParser.create(loader).parse_overrides(lines), None)[0]
            return [OmegaConf.to_container(compose("config", job), resolve=True) for job in jobs] or None
        except (HydraException, OmegaConfBaseException):
            return None


def by_product(lines):
    try:
        return list(Product(parse(lines)).compose())
    except ChoiceError:
        return None


def same(lines):
    found, expected = by_product(lines), by_hydra(lines)
    assert str(found) == str(expected), lines  # as text: nan is not equal to itself, and True is not 1


@settings(max_examples=20, deadline=None)
@given(overrides())
def test_every_combination_is_what_hydra_composes_for_it(lines):
    same(lines)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(overrides())
def test_every_combination_is_what_hydra_composes_for_it_in_many_command_lines(lines):
    same(lines)
