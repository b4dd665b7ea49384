"""Describe networks: their layers, parameters, FLOPs and memory, without training and without data.

    python -m harness.describe [key=value ...] [vs [key=value ...]] [--json]

Keys are those of harness.run, and channels, image_size and classes: 3, 32 and 10 by default, in family imagenet 3, 224 and
1000. One net is printed layer by layer and compared with its plain twin. Several are compared with each other: each of the
values separated by commas gives a net, and `vs` starts a second configuration, which inherits unspecified keys. FLOPs are those
of convolutions and linear layers for one image, with a multiply-add as two (the papers count it as one). Exit code 0, or 2 if
there is no such net.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from harness.config import network_size
from harness.config.flat import varying
from harness.config.network import NetworkConfig
from harness.config.registry import SHORTCUT_KEYS, ChoiceError
from harness.config.run import Precision, RunConfig
from harness.config.validation import check_whole
from harness.reporting.document import Table, plain_table
from harness.system import console

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

IMAGE_KEYS = ("channels", "image_size", "classes")
OPTIONS = {"--json": "--json", "-h": "--help", "--help": "--help"}
DEEPEST_TRACED = 1_000
"""Maximum depth of nets without repeated blocks, such as densenets: they are traced layer by layer, which takes seconds."""
MOST_NETS = 100
"""Maximum number of nets of a command: nobody reads a table with more columns."""


@dataclass(frozen=True)
class Net:
    """A net, its images (channels, side, classes), and its summary (`harness.models.summary`)."""

    config: RunConfig
    images: tuple[int, int, int]
    summary: Any

    @property
    def keys(self) -> dict[str, Any]:
        """The keys that determine the net, with their values."""
        names = [f.name for f in fields(NetworkConfig)]
        return {name: self.config.flat()[name] for name in names} | dict(zip(IMAGE_KEYS, self.images, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    from harness.planning.arguments import split

    try:
        options, words = split(list(sys.argv[1:] if arguments is None else arguments), OPTIONS, allowed=("vs",))
        if "--help" in options:
            print(__doc__)
            return 0
        nets = [describe(config, images) for config, images in _parse(words)]
    except ChoiceError as error:
        return console.refuse("harness.describe", error)
    if "--json" in options:
        objects = [as_json(net) for net in nets]
        print(json.dumps(objects[0] if len(objects) == 1 else objects))
    else:
        print(_details(nets[0]) if len(nets) == 1 else _comparison(nets))
    return 0


def describe(config: RunConfig, images: tuple[int, int, int]) -> Net:
    """Return the description of the net of `config` for images of (channels, side, classes).

    Raises ChoiceError if the images are too small for it.
    """
    from harness.models.summary import summarize

    config.rules.check_images(config, images[1], config.schedule.batch_size)
    network_size.check(config, images[1], config.schedule.batch_size)
    if config.rules.repeating_depths(config) is None and config.depth > DEEPEST_TRACED:
        raise ChoiceError(
            f"depth={config.depth}: family {config.family} is described layer by layer, up to depth={DEEPEST_TRACED}"
        )
    batch, bf16 = config.schedule.batch_size, config.precision is Precision.bf16
    return Net(config, images, summarize(config, *images, batch, bf16, config.execution.activation_checkpointing))


def as_json(net: Net) -> dict[str, Any]:
    """Return the net as plain values: its keys, `layers`, totals, and the least memory of a training step in bytes."""
    summary = net.summary
    return {
        "keys": net.keys,
        "layers": [asdict(row) for row in summary.rows],
        "parameters": summary.parameters,
        "flops": summary.flops,
        "weighted_layers": summary.weighted_layers,
        "training_memory": summary.memory.total,
    }


def plain_twin(config: RunConfig) -> RunConfig | None:
    """Return the same net without shortcuts; None for a plain net, and for a family without such nets."""
    if not config.rules.has_plain_twin or config.shortcut == "none":
        return None
    unused = {key for keys in SHORTCUT_KEYS.values() for key in keys} | {"survival"}
    values = {f.name: getattr(config, f.name) for f in fields(RunConfig) if f.name not in unused}
    return RunConfig(**(values | {"shortcut": "none"}))


def _parse(arguments: Sequence[str]) -> list[tuple[RunConfig, tuple[int, int, int]]]:
    """Return the configs of a command line, each with its images."""
    from harness.planning.arguments import KEYS, parse
    from harness.planning.expansion import Product
    from harness.planning.sweep import from_composed

    sides: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "vs":
            sides.append([])
        else:
            sides[-1].append(argument)
    products: list[tuple[Product, dict[str, int]]] = []
    for number, side in enumerate(sides):
        given = {line.partition("=")[0] for line in side}
        inherited = [line for line in sides[0] if line.partition("=")[0] not in given] if number else []
        overrides = parse([*inherited, *side], [*KEYS, *IMAGE_KEYS])
        images = _images([override for override in overrides if override.key_or_group in IMAGE_KEYS])
        keys = [override for override in overrides if override.key_or_group not in IMAGE_KEYS]
        products.append((Product(keys, MOST_NETS - sum(before.count for before, _ in products)), images))
    nets = []
    for product, images in products:
        for values in product.compose():
            config = from_composed(values)[0]
            family = dict(zip(IMAGE_KEYS, config.rules.images, strict=True))
            nets.append((config, cast(tuple[int, int, int], tuple((family | images).values()))))
    return nets


def _images(overrides: Sequence[Override]) -> dict[str, int]:
    """Return the values of IMAGE_KEYS. Raises ChoiceError unless they are whole numbers."""
    values: dict[str, int] = {}
    for override in overrides:
        key, _, text = str(override.input_line).partition("=")
        value: Any = text if override.is_sweep_override() else override.value()
        check_whole(key, value, 1)
        values[key] = value
    return values


def _details(net: Net) -> str:
    """Return the description of a net: its layers, its totals, and the difference from its plain twin."""
    summary, memory = net.summary, net.summary.memory
    header = ["number", "name", "kind", "output", "parameters", "FLOPs", "receptive field"]
    rows = []
    for row in summary.rows:
        shape = "x".join(map(str, row.shape))
        counts = (f"{row.parameters:,}", f"{row.flops:,}", str(row.receptive_field))
        rows.append([str(row.number or ""), row.name, row.kind, shape, *counts])
    totals = [
        f"weighted layers   {summary.weighted_layers}",
        f"parameters        {summary.parameters:,}",
        f"FLOPs             {summary.flops:,} per image, forward ({summary.flops // 2:,} multiply-adds)",
        f"training memory   at least {_mebibytes(memory.total)}, at batch {net.config.schedule.batch_size}: "
        f"weights, gradients and momentum {_mebibytes(3 * memory.weights)}, activations {_mebibytes(memory.activations)}",
    ]
    return "\n".join([_title(net), "", plain_table(Table(header, rows)), "", *totals, "", _twin(net)])


def _title(net: Net) -> str:
    config, (channels, side, classes) = net.config, net.images
    title = f"{config.family} net of {config.depth} layers"
    if config.stage_blocks:
        title += f", {cast(Any, config.block).value} blocks {config.stage_blocks}, shortcut {config.shortcut}"
    return f"{title}; images {channels}x{side}x{side}, {classes} classes"


def _twin(net: Net) -> str:
    """Return a sentence about the difference from the plain twin."""
    if net.config.shortcut == "none":
        return "It is a plain net: no block has a shortcut."
    twin = plain_twin(net.config)
    if twin is None:
        return f"It has no plain twin: family {net.config.family} does not have shortcut=none."
    plain = describe(twin, net.images).summary
    kinds = Counter(row.kind for row in net.summary.rows if ".shortcut" in row.name)
    layers = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
    return (
        f"Compared with its plain twin (shortcut=none): {sum(net.config.stage_blocks)} blocks with a shortcut, "
        f"{f'layers on the shortcuts: {layers}' if layers else 'no layer on the shortcuts'}; "
        f"{net.summary.parameters - plain.parameters:+,} parameters, {net.summary.flops - plain.flops:+,} FLOPs."
    )


def _comparison(nets: Sequence[Net]) -> str:
    """Return a table of several nets: the keys that differ, totals and stages, with their ratios to the first net."""
    differing = varying([net.keys for net in nets])
    lines: list[list[str]] = [[key, *(str(net.keys[key]) for net in nets)] for key in differing]
    for name, key in (("weighted layers", "weighted_layers"), ("parameters", "parameters"), ("FLOPs", "flops")):
        lines.append(_with_ratios(name, [getattr(net.summary, key) for net in nets]))
    for stage in range(max(len(net.config.stage_blocks) for net in nets)):
        for name, key in (("parameters", "parameters"), ("FLOPs", "flops")):
            layers = [[row for row in net.summary.rows if row.name.startswith(f"stages.{stage}.")] for net in nets]
            lines.append(_with_ratios(f"stage {stage + 1}: {name}", [sum(getattr(row, key) for row in rows) for rows in layers]))
    lines.append(_with_ratios("training memory (MiB)", [round(net.summary.memory.total / 2**20) for net in nets]))
    header = ["", *(f"net {number}" for number in range(1, len(nets) + 1))]
    return plain_table(Table(header, lines))


def _with_ratios(name: str, values: Sequence[int]) -> list[str]:
    ratios = ["", *(f" ({value / values[0]:.2f})" if values[0] else "" for value in values[1:])]
    return [name, *(f"{value:,}{ratio}" for value, ratio in zip(values, ratios, strict=True))]


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


if __name__ == "__main__":
    console.run("harness.describe", main)
