"""The space of a search: what each kind of value means, and what is refused."""

import pytest

from harness.config.registry import ChoiceError
from harness.planning.space import MOST_CHECKED, Axis, read


@pytest.mark.parametrize(
    ("line", "axis", "sample"),
    [
        ("width=4,8", Axis("width", ("4", "8")), "width=4,8"),
        ("shortcut=choice(none,identity)", Axis("shortcut", ("none", "identity")), "shortcut=none,identity"),
        ("depth=range(8,21,6)", Axis("depth", low=8, high=20, step=6), "depth=8,14,20"),
        ("depth=range(20,7,-6)", Axis("depth", low=8, high=20, step=6), "depth=20,14,8"),
        ("seed=range(3)", Axis("seed", low=0, high=2, step=1), "seed=0,1,2"),
        ("survival=range(0.5,1,0.25)", Axis("survival", low=0.5, high=0.75, step=0.25), "survival=0.5,0.75"),
        ("survival=interval(0.5,1)", Axis("survival", low=0.5, high=1.0), "survival=0.5,1.0"),
        ("width=int(interval(1,9))", Axis("width", low=1, high=9, step=1), "width=1,9"),
        ("width=tag(int,interval(1.5,9.5))", Axis("width", low=2, high=9, step=1), "width=2,9"),
        ("width=tag(int,log,interval(1,9))", Axis("width", low=1, high=9, step=1, log=True), "width=1,9"),
    ],
)
def test_a_key_with_several_values_is_an_axis(line, axis, sample):
    space = read(["depth=8", line] if not line.startswith("depth") else [line, "seed=1"])
    assert space.axes == (axis,)
    assert space.samples == (sample,)
    assert space.fixed == (("seed=1",) if line.startswith("depth") else ("depth=8",))
    assert axis.whole == isinstance(axis.low, int) or axis.choices


def test_a_large_space_is_sampled_once():
    seeds = f"seed=range({MOST_CHECKED})"
    assert read([seeds]).samples[0].endswith(f",{MOST_CHECKED - 1}")
    assert read([seeds, "survival=interval(0.5,1)"]).samples == ("seed=0", "survival=0.5")


def test_numbers_of_a_range_are_those_that_were_typed():
    """Three steps of 0.1 are 0.3, which they are not in binary; an interval keeps every bit."""
    assert Axis("survival", low=0, high=1.0, step=0.1).override(0.1 + 0.1 + 0.1) == "survival=0.3"
    assert Axis("survival", low=0, high=1.0).override(0.1 + 0.1 + 0.1) == "survival=0.30000000000000004"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["depth=8"], "nothing to search"),
        (["experiment=degradation", "depth=8,14"], "experiment=degradation: is a sweep of its own"),
        (["width=tag(lgo,interval(1,2))"], "unknown tag lgo; allowed: int, log"),
        (["width=tag(log,range(1,9))"], "tags are for an interval"),
        (["width=tag(log,interval(0,1))"], "a logarithmic interval begins above 0"),
        (["width=interval(2,1)"], "an interval goes from a finite number to a larger one"),
        (["width=interval(0,inf)"], "an interval goes from a finite number to a larger one"),
        (["width=tag(int,interval(0.2,0.8))"], "has no whole number"),
        (["seed=range(0)"], "has no value"),
        (["hydra/sweeper=optuna", "depth=8,14"], "python -m harness.search searches ranges"),
    ],
)
def test_what_cannot_be_searched_is_refused(lines, words):
    with pytest.raises(ChoiceError, match=words.replace("(", r"\(")):
        read(lines)
