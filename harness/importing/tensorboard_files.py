"""Read scalars and hyperparameters from TensorBoard's event files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config.registry import ChoiceError
from harness.records import reader

EVERYTHING = {"scalars": 0, "tensors": 0}
"""Keep every value; by default TensorBoard keeps a sample."""


def read(paths: Sequence[Path]) -> tuple[dict[str, dict[int, float]], dict[str, Any]]:
    """Return the scalars and the hyperparameters of the event files of a run.

    The scalars of a folder below the run's are named FOLDER/TAG, unless the folder has hyperparameters, as that of `add_hparams`.
    Raises RecordError for a file that cannot be read, and ChoiceError without the package tensorboard.
    """
    try:
        from tensorboard.backend.event_processing import event_accumulator
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from tensorboard.util import tensor_util
    except ImportError:
        raise ChoiceError("tensorboard is not installed; python -m pip install -e '.[import]'") from None
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    metrics, choices = dict[str, dict[int, float]](), dict[str, Any]()
    top = min((path.parent for path in paths), key=lambda folder: len(folder.parts))
    for path in paths:
        with reader.parsing(path):
            events = event_accumulator.EventAccumulator(str(path), size_guidance=EVERYTHING).Reload()
            scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
            for tag in events.Tags()["tensors"]:  # scalars of TensorFlow 2
                if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                    scalars[tag] = {e.step: float(tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
            try:
                content = events.PluginTagToContent("hparams").get("_hparams_/session_start_info")
            except KeyError:
                content = None
            if content is not None:
                values = HParamsPluginData.FromString(content).session_start_info.hparams
                choices |= {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}
        nested = content is None and path.parent != top
        for tag, values in scalars.items():
            metrics.setdefault(f"{path.parent.relative_to(top)}/{tag}" if nested else tag, {}).update(values)
    return metrics, choices
