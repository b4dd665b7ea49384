"""The description of a net, by its command line."""

import json

import pytest

from harness import describe
from harness.config.blocks import Order
from harness.config.network import NetworkConfig
from harness.models import summary


def printed(capsys, *arguments):
    code = describe.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_net_is_printed_layer_by_layer(capsys):
    code, out, _ = printed(capsys, "depth=20", "shortcut=projection")
    assert code == 0
    lines = out.splitlines()
    header, rows = lines[2].split(), [line.split() for line in lines[3:25]]
    assert header == ["number", "name", "kind", "output", "parameters", "FLOPs", "receptive", "field"]
    assert rows[0] == ["1", "stem.conv", "3x3", "conv", "16x32x32", "464", "884,736", "3"]
    assert sum(int(row[-3].replace(",", "")) for row in rows) == 272_474
    assert "parameters        272,474" in out
    assert "9 blocks with a shortcut, layers on the shortcuts: 2 of 1x1 projection; +2,752 parameters" in out


def test_json_holds_layers_and_totals(capsys):
    code, out, _ = printed(capsys, "depth=110", "shortcut=identity", "--json")
    net = json.loads(out)
    assert code == 0
    assert (net["parameters"], net["weighted_layers"], net["flops"]) == (1_727_962, 110, 2 * 252_887_680)
    assert len(net["layers"]) == 110
    assert sum(layer["parameters"] for layer in net["layers"]) == net["parameters"]
    assert set(net["layers"][0]) == {"number", "name", "kind", "shape", "parameters", "flops", "receptive_field"}


def test_images_follow_the_family_unless_given(capsys):
    _, out, _ = printed(capsys, "family=imagenet", "depth=18", "shortcut=projection", "--json")
    assert json.loads(out)["parameters"] == 11_689_512
    _, out, _ = printed(capsys, "family=imagenet", "depth=18", "channels=1", "image_size=64", "classes=3", "--json")
    net = json.loads(out)
    assert net["layers"][0]["shape"] == [64, 32, 32]
    assert net["layers"][0]["parameters"] == 7 * 7 * 64 + 2 * 64
    assert net["layers"][-1]["shape"] == [3]


def test_a_bottleneck_is_set_beside_a_basic_block_of_equal_width_and_depth(capsys):
    """He et al. 2015, Fig. 5: 3x3 and 3x3 at 64 channels cost about as much as 1x1, 3x3, 1x1 at 256; at equal width far more."""
    code, out, _ = printed(capsys, "depth=20", "width=64", "vs", "block=bottleneck", "width=16")
    assert code == 0
    cells = {line[:22].strip(): line[22:].split() for line in out.splitlines()[1:]}
    assert cells["block"] == ["basic", "bottleneck"]
    assert cells["width"] == ["64", "16"]
    basic, bottleneck = (int(cells["parameters"][k].replace(",", "")) for k in (0, 1))
    assert cells["parameters"][2] == f"({bottleneck / basic:.2f})"
    assert bottleneck < basic / 15


def test_values_separated_by_commas_make_a_net_each(capsys):
    code, out, _ = printed(capsys, "depth=8,14,20", "--json")
    assert code == 0
    assert [net["weighted_layers"] for net in json.loads(out)] == [8, 14, 20]


def test_a_variant_stands_for_its_keys_and_keys_beside_it_win(capsys):
    _, out, _ = printed(capsys, "variant=he2016_shortcut_only_gate_b6", "--json")
    keys = json.loads(out)["keys"]
    assert (keys["shortcut"], keys["gate_bias"], keys["depth"]) == ("shortcut_only_gate", -6.0, 110)
    _, out, _ = printed(capsys, "variant=he2016_shortcut_only_gate_b6", "depth=8", "--json")
    assert json.loads(out)["weighted_layers"] == 8


def test_memory_is_less_with_checkpoints_and_in_bf16(capsys):
    _, out, _ = printed(capsys, "depth=56", "activation_checkpointing=false,true", "--json")
    plain, checkpointed = (net["training_memory"] for net in json.loads(out))
    _, out, _ = printed(capsys, "depth=56", "precision=bf16", "--json")
    assert checkpointed < 0.4 * plain
    assert json.loads(out)["training_memory"] == pytest.approx(0.5 * plain, rel=0.05)


def test_plain_nets_and_densenets_have_no_twin(capsys):
    assert "It is a plain net" in printed(capsys, "depth=8", "shortcut=none")[1]
    assert "It has no plain twin" in printed(capsys, "family=densenet", "depth=10")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["depth=21"], "nearest are 20 and 26"),
        (["dept=20"], "did you mean depth"),
        (["variant=he2016_dropot"], "did you mean he2016_dropout"),
        (["classes=0"], "classes=0: must be a whole number of at least 1"),
        (["family=densenet", "depth=10", "image_size=3"], "images of 3x3 are too small; the least is 4x4"),
        (["family=imagenet", "depth=18", "image_size=8", "schedule.batch_size=1"], "batch normalisation needs two values"),
        (["depth=20,"], "depth=20,"),
        (["depth=20", "vs", "block=bottleneck", "depth=44"], "nearest are 38 and 47"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words, capsys):
    code, out, err = printed(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize(
    "keys",
    [
        {"depth": 38, "shortcut": "projection"},
        {"depth": 44, "shortcut": "none", "norm": "none"},
        {"depth": 38, "shortcut": "exclusive_gate"},
        {"depth": 38, "shortcut": "projection_all", "survival": 0.5},
        {"depth": 56, "block": "bottleneck", "shortcut": "projection"},
        {"depth": 65, "block": "bottleneck", "bottleneck_stride": "middle", "shortcut": "dropout"},
    ],
    ids=str,
)
@pytest.mark.parametrize("recompute", [False, True])
def test_a_deep_net_is_as_a_shallow_one_continued(order, keys, recompute):
    config, images = NetworkConfig(**keys, order=order, width=4), (3, 32, 10, 16, False, recompute)
    assert summary.summarize(config, *images) == summary._trace(config, *images)


def test_the_deepest_net_is_described_at_once(capsys):
    """Each 6 layers more have as many parameters as the 6 before."""
    parameters = {depth: json.loads(printed(capsys, f"depth={depth}", "--json")[1])["parameters"] for depth in (20, 26, 99_998)}
    a_block = parameters[26] - parameters[20]
    assert parameters[99_998] == parameters[20] + a_block * ((99_998 - 20) // 6)
