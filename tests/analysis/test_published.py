"""Published numbers and the degradation index."""

import math

import pytest

from harness.analysis import degradation_index, published
from harness.reporting import verdict_sections
from harness.reporting.document import Table
from support.fabricate import cifar, digits, finish, nets, sweep


def test_numbers_of_the_papers():
    """As in He et al. 2015, Table 6, and He et al. 2016, Tables 1 to 3."""
    number = published.published_number(published.HE_2015, "Table 6", "mean of 5", depth=110)
    assert (number.error, number.spread, number.words) == (6.61, 0.16, "6.61 ± 0.16")
    assert published.published_number(published.HE_2015, "Table 6", "best of 5", depth=110).error == 6.43
    assert published.published_number(published.HE_2016, "Table 1", depth=110, shortcut="dropout").words == "above 20"
    pre = {"block": "bottleneck", "shortcut": "projection", "order": "preactivation"}
    assert published.published_number(published.HE_2016, "Table 2", depth=164, **pre).error == 5.46
    with pytest.raises(KeyError):
        published.published_number(published.HE_2015, "Table 6", depth=110)  # two numbers: the best of 5, and the mean


def test_only_the_same_network_matches():
    plain = cifar(20, "none").flat()
    assert {one.error for one in published.matching(plain)} == {9.0, 9.78}
    assert published.matching(plain | {"norm": "none"}) == []
    assert published.matching(cifar(26, "none").flat()) == []


def section(tables, title):
    (found,) = [one for one in verdict_sections.sections(tables, verdict_sections.judge(tables)) if one.title == title]
    (table,) = [element for element in found.elements if isinstance(element, Table)]
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_published_numbers_stand_beside_ours_with_what_differs(tmp_path):
    names = nets(tmp_path, cifar, {(110, "identity"): [3, 3, 3]}, test_above=3.5)
    names += nets(tmp_path, digits, {(20, "none"): [5]})
    rows = section(sweep(tmp_path, names), "Published numbers")
    best = next(row for row in rows if row["published"] == "6.43")
    assert (best["ours [95 % interval]"], best["published is"], best["differs"]) == ("6.5 [6.5, 6.5]", "best of 5", "nothing")
    other = next(row for row in rows if row["published"] == "9.78 ± 0.13")
    assert "data=digits (published: cifar10)" in other["differs"]
    assert "schedule.steps=1000 (published: 64000)" in other["differs"]


def test_published_numbers_name_a_net_by_the_keys_that_do_something_in_it(tmp_path):
    """The bias of a gate does not name a net without a gate, although the sweep has both."""
    gate = digits(110, "exclusive_gate", gate_bias=-5)
    names = [finish(tmp_path, config, 1.0, 1.0) for config in (digits(110, "identity"), gate)]
    nets_named = {row["net"] for row in section(sweep(tmp_path, names), "Published numbers")}
    assert nets_named == {"depth=110, shortcut=identity", "depth=110, shortcut=exclusive_gate, gate_bias=-5"}


def test_the_index_is_the_slope_over_doublings(tmp_path):
    """From 20 to 80 layers are two doublings: plain nets rise by 10 points, 5 each (4 and 6 by seed)."""
    errors = {(20, "none"): [0, 0], (80, "none"): [8, 12], (20, "identity"): [1, 1], (80, "identity"): [1, 1]}
    residual, plain = degradation_index.degradation(sweep(tmp_path, nets(tmp_path, cifar, errors)))
    assert (residual.family, plain.family) == ("shortcut=identity", "shortcut=none")
    assert residual.slope.value == 0
    assert plain.slope.value == pytest.approx(5)
    assert plain.slope.high - 5 == pytest.approx(12.706 * math.sqrt(2) / math.sqrt(2), rel=1e-4)  # t of one df, sd sqrt(2)
    assert plain.depths == (20, 80)


def test_the_index_leaves_out_seeds_that_lack_a_depth_and_ranks_like_with_like(tmp_path):
    names = nets(tmp_path, cifar, {(20, "none"): [0, 0, 50], (80, "none"): [8, 12], (20, "identity"): [1], (56, "identity"): [1]})
    tables = sweep(tmp_path, names)
    plain = next(one for one in degradation_index.degradation(tables) if one.family == "shortcut=none")
    assert (plain.slope.seeds, plain.left_out, plain.slope.value) == (2, 1, pytest.approx(5))
    assert [row["rank"] for row in section(tables, "Degradation index")] == ["1", "1"]  # other depths, another ranking


def test_one_depth_has_no_index(tmp_path):
    assert degradation_index.degradation(sweep(tmp_path, [finish(tmp_path, digits(20, "none"), 1.0, 1.0)])) == []
