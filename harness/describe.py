"""What a net is: its layers, parameters, FLOPs and memory, without training it and without data.

    python -m harness.describe [key=value ...] [vs [key=value ...]] [--json]

Keys are those of harness.run, and channels, image_size and classes: 3, 32 and 10 unless given, in family imagenet 3, 224
and 1000. One net is printed layer by layer and set beside its plain twin. Several are compared: values separated by commas
make one net each, and what follows `vs` makes another, with the keys that are not given again as before it. FLOPs are those of
convolutions and linear layers for one image, a multiply-add counting as two (the papers count it as one). Exit code 0,
or 2 if there is no such net.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from harness.config import network_size
from harness.config.flat import varying
from harness.config.network import SHORTCUT_KEYS, Family, NetworkConfig
from harness.config.registry import ChoiceError
from harness.config.run import Precision, RunConfig
from harness.config.validation import whole
from harness.reporting.document import Table, plain_table
from harness.system import console

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

IMAGES = {Family.cifar: (3, 32, 10), Family.imagenet: (3, 224, 1000), Family.densenet: (3, 32, 10)}
"""Channels, side and classes of the images that each family was made for."""
IMAGE_KEYS = ("channels", "image_size", "classes")
OPTIONS = {"--json": "--json", "-h": "--help", "--help": "--help"}
DEEPEST_DENSENET = 1_000
"""No two of its layers are equal: so many take some seconds."""
MOST_NETS = 100
"""Nets of one command: a table of more columns is not read."""


@dataclass(frozen=True)
class Net:
    """A net, the images that it is for, and what was found out about it."""

    config: RunConfig
    images: tuple[int, int, int]
    found: Any

    @property
    def keys(self) -> dict[str, Any]:
        names = [f.name for f in fields(NetworkConfig)]
        return {name: self.config.flat()[name] for name in names} | dict(zip(IMAGE_KEYS, self.images, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit code."""
    from harness.launching.arguments import split

    try:
        options, words = split(list(sys.argv[1:] if arguments is None else arguments), OPTIONS, allowed=("vs",))
        if "--help" in options:
            print(__doc__)
            return 0
        nets = [described(config, images) for config, images in _asked(words)]
    except ChoiceError as error:
        return console.refuse("harness.describe", error)
    if "--json" in options:
        objects = [as_json(net) for net in nets]
        print(json.dumps(objects[0] if len(objects) == 1 else objects))
    else:
        print(_alone(nets[0]) if len(nets) == 1 else _side_by_side(nets))
    return 0


def described(config: RunConfig, images: tuple[int, int, int]) -> Net:
    """Return what is found out about the net of `config` for images of (channels, side, classes).

    Raises ChoiceError where the images are too small for it.
    """
    from harness.models.summary import inspect

    config.check_images(images[1], config.schedule.batch_size)
    network_size.check(config, images[1], config.schedule.batch_size)
    if config.family == Family.densenet and config.depth > DEEPEST_DENSENET:
        raise ChoiceError(f"depth={config.depth}: a densenet is described layer by layer, up to depth={DEEPEST_DENSENET}")
    batch, bf16 = config.schedule.batch_size, config.precision is Precision.bf16
    return Net(config, images, inspect(config, *images, batch, bf16, config.execution.activation_checkpointing))


def as_json(net: Net) -> dict[str, Any]:
    """Return the net as plain values: its keys, `layers`, totals, and the least memory of a training step in bytes."""
    found = net.found
    return {
        "keys": net.keys,
        "layers": [asdict(row) for row in found.rows],
        "parameters": found.parameters,
        "flops": found.flops,
        "weighted_layers": found.weighted_layers,
        "training_memory": found.memory.total,
    }


def plain_twin(config: RunConfig) -> RunConfig | None:
    """Return the same net without shortcuts; None where there is none."""
    if config.is_plugin_family or config.family == Family.densenet or config.shortcut == "none":
        return None
    idle = {key for keys in SHORTCUT_KEYS.values() for key in keys} | {"survival"}
    values = {f.name: getattr(config, f.name) for f in fields(RunConfig) if f.name not in idle}
    return RunConfig(**(values | {"shortcut": "none"}))


def _asked(arguments: Sequence[str]) -> list[tuple[RunConfig, tuple[int, int, int]]]:
    """Return the configs that the command line names, each with its images."""
    from harness.launching.arguments import KEYS, parse
    from harness.launching.expansion import Product
    from harness.launching.sweep import from_composed

    sides: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "vs":
            sides.append([])
        else:
            sides[-1].append(argument)
    asked: list[tuple[Product, dict[str, int]]] = []
    for place, side in enumerate(sides):
        given = {line.partition("=")[0] for line in side}
        inherited = [line for line in sides[0] if line.partition("=")[0] not in given] if place else []
        overrides = parse([*inherited, *side], [*KEYS, *IMAGE_KEYS])
        images = _images([override for override in overrides if override.key_or_group in IMAGE_KEYS])
        keys = [override for override in overrides if override.key_or_group not in IMAGE_KEYS]
        asked.append((Product(keys, MOST_NETS - sum(before.count for before, _ in asked)), images))
    found = []
    for product, images in asked:
        for values in product.compose():
            config = from_composed(values)[0]
            family = dict(zip(IMAGE_KEYS, IMAGES.get(config.family, IMAGES[Family.cifar]), strict=True))
            found.append((config, cast(tuple[int, int, int], tuple((family | images).values()))))
    return found


def _images(overrides: Sequence[Override]) -> dict[str, int]:
    """Return what is said of the images; raises ChoiceError for anything but whole numbers."""
    found: dict[str, int] = {}
    for override in overrides:
        key, _, text = str(override.input_line).partition("=")
        value: Any = text if override.is_sweep_override() else override.value()
        whole(key, value, 1)
        found[key] = value
    return found


def _alone(net: Net) -> str:
    """Return a net layer by layer, its totals, and how it differs from its plain twin."""
    header = ["number", "name", "kind", "output", "parameters", "FLOPs", "receptive field"]
    rows = []
    for row in net.found.rows:
        shape = "x".join(map(str, row.shape))
        counts = (f"{row.parameters:,}", f"{row.flops:,}", str(row.receptive_field))
        rows.append([str(row.number or ""), row.name, row.kind, shape, *counts])
    return "\n".join([_title(net), "", plain_table(Table(header, rows)), "", *_totals(net), "", _beside_twin(net)])


def _title(net: Net) -> str:
    config, (channels, side, classes) = net.config, net.images
    kind = f"{config.family} net of {config.depth} layers"
    if config.is_plugin_family:
        return f"{kind}; images {channels}x{side}x{side}, {classes} classes"
    kind += f", {cast(Any, config.block).value} blocks {config.stage_blocks}"
    return f"{kind}, shortcut {config.shortcut}; images {channels}x{side}x{side}, {classes} classes"


def _totals(net: Net) -> list[str]:
    found, memory = net.found, net.found.memory
    return [
        f"weighted layers   {found.weighted_layers}",
        f"parameters        {found.parameters:,}",
        f"FLOPs             {found.flops:,} an image, forward ({found.flops // 2:,} multiply-adds)",
        f"training memory   {_mebibytes(memory.total)} at least, at batch {net.config.schedule.batch_size}: "
        f"weights, gradients and momentum {_mebibytes(3 * memory.weights)}, activations {_mebibytes(memory.activations)}",
    ]


def _beside_twin(net: Net) -> str:
    if net.config.is_plugin_family:
        return f"A plugin builds family {net.config.family}; it has no plain twin."
    if net.config.shortcut == "none":
        return "It is a plain net: no block has a shortcut."
    twin = plain_twin(net.config)
    if twin is None:
        return "It has no plain twin: without concatenation a layer's input would have other channels."
    other, count = described(twin, net.images), sum(net.config.stage_blocks)
    own = [row for row in net.found.rows if ".shortcut" in row.name]
    kinds = ", ".join(f"{sum(row.kind == kind for row in own)} of {kind}" for kind in dict.fromkeys(row.kind for row in own))
    parameters, flops = net.found.parameters - other.found.parameters, net.found.flops - other.found.flops
    layers = f"layers on the shortcuts: {kinds}" if own else "no layer on the shortcuts"
    return (
        f"Beside its plain twin (shortcut=none): {count} blocks with a shortcut, {layers}; "
        f"{parameters:+,} parameters, {flops:+,} FLOPs."
    )


def _side_by_side(nets: Sequence[Net]) -> str:
    """Return several nets' keys that differ, their totals and their stages in one table; the ratio is to the first."""
    differing = varying([net.keys for net in nets])
    lines: list[list[str]] = [[key, *(str(net.keys[key]) for net in nets)] for key in differing]
    lines += [_counted("weighted layers", [net.found.weighted_layers for net in nets])]
    lines += [_counted("parameters", [net.found.parameters for net in nets])]
    lines += [_counted("FLOPs", [net.found.flops for net in nets])]
    for number in range(max(len(net.config.stage_blocks) for net in nets)):
        for what in ("parameters", "flops"):
            sums = [sum(getattr(row, what) for row in net.found.rows if row.name.startswith(f"stages.{number}.")) for net in nets]
            lines.append(_counted(f"stage {number + 1}: {what.replace('flops', 'FLOPs')}", sums))
    lines += [_counted("training memory (MiB)", [round(net.found.memory.total / 2**20) for net in nets])]
    header = ["", *(f"net {number}" for number in range(1, len(nets) + 1))]
    return plain_table(Table(header, lines))


def _counted(name: str, values: Sequence[int]) -> list[str]:
    ratios = ["", *(f" ({value / values[0]:.2f})" if values[0] else "" for value in values[1:])]
    return [name, *(f"{value:,}{ratio}" for value, ratio in zip(values, ratios, strict=True))]


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


if __name__ == "__main__":
    console.run("harness.describe", main)
