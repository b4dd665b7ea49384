"""Lower bounds on a network's size, compared with the built network."""

import pytest

from harness.config import network_size
from harness.config.network import NetworkConfig
from harness.config.registry import ChoiceError
from harness.models.summary import summarize


@pytest.mark.parametrize(
    "keys",
    [
        {"depth": 20, "shortcut": "none"},
        {"depth": 110, "shortcut": "projection"},
        {"depth": 20, "norm": "none", "shortcut": "none"},
        {"depth": 29, "block": "bottleneck"},
        {"family": "imagenet", "depth": 18},
        {"family": "imagenet", "depth": 50, "shortcut": "projection"},
        {"family": "densenet", "depth": 40},
        {"family": "densenet", "depth": 100, "growth": 24},
    ],
    ids=str,
)
def test_no_net_is_smaller_than_its_extent_and_most_of_it_is_counted(keys):
    config = NetworkConfig(**keys)
    least, found = network_size.extent(config, 32, 16), summarize(config, 3, 32, 10, 16)
    assert 0.75 * found.parameters < least.weights <= found.parameters
    assert network_size.KEPT * least.values <= found.memory.activations


def test_a_net_beyond_the_memory_is_refused_before_it_is_built():
    """13.5 width^2 weights in the first stage, 4 and 16 times that in the next two, 4 bytes each:
    13.5 (1 + 4 + 16) 65,536^2 4 = 4,536 GiB.
    """
    config = NetworkConfig(depth=8, width=65_536)
    with pytest.raises(ChoiceError, match=r"depth=8 width=65536: building takes at least 4,536\.0 GiB of memory"):
        network_size.check_memory(config, 32, 1, False, 2**40)
    with pytest.raises(ChoiceError, match="training takes at least 13,6"):
        network_size.check_memory(config, 32, 1, True, 2**40)
    network_size.check_memory(config, 32, 1, True, 2**44)


def test_a_layer_whose_output_cannot_be_counted_is_refused():
    with pytest.raises(ChoiceError, match=r"schedule\.batch_size=1048576: 1,048,576 images of 16384x16384 make"):
        network_size.check(NetworkConfig(width=65_536), 16_384, 1_048_576)
