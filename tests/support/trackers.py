"""Read trackers back, with their own readers, and say what they must hold."""

import json
import struct
from collections import defaultdict

from harness.records import paths, reader

COLUMNS = {
    "steps": ("epoch", "learning_rate", "loss", "error"),
    "epochs": ("epoch", "learning_rate", "batch_loss", "batch_error", "train_loss", "train_error", "test_loss", "test_error"),
    "layers": ("grad_norm", "weight_norm", "update_norm", "nonzero", "response_std"),
    "blocks": ("forward_norm", "grad_norm", "nonzero"),
}


def on_disk(run, norms_too=True):
    """Return {name: [(step, value), ...]} of a run's tables; `seconds` and, without `norms_too`, gradient_norms are left out."""
    points = defaultdict(list)
    for table, columns in COLUMNS.items():
        path = run.folder / paths.table(table)
        for row in reader.read_table(path).to_dict("records") if path.exists() else ():
            for column in columns:
                if abs(row[column]) < float("inf"):  # neither empty nor infinite
                    points["/".join([table, column, *([row["name"]] if "name" in row else [])])].append(
                        (row["step"], row[column])
                    )
    if norms_too and (path := run.folder / paths.GRADIENT_NORMS).exists():
        norms = reader.read_table(path)
        for layer in norms.columns.drop("step"):
            finite = norms[norms[layer] < float("inf")]
            points[f"gradient_norms/{layer}"] = list(zip(finite["step"], finite[layer].astype(float), strict=True))
    return {tag: values for tag, values in points.items() if values}


def read(tracker, folder, name):
    """Return {name: [(step, value), ...]} of a run in a tracker's folder, without `seconds`."""
    points = defaultdict(list)
    for tag, step, value in READERS[tracker](folder, name):
        if tag != "epochs/seconds":
            points[tag].append((step, value))
    return {tag: sorted(values) for tag, values in points.items()}


def _tensorboard(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / name), size_guidance={"scalars": 0}).Reload()
    for tag in events.Tags()["scalars"]:
        yield from ((tag, event.step, event.value) for event in events.Scalars(tag))


def _mlflow(folder, name):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("depth-harness").experiment_id], f"run_name = '{name}'")
    for tag in run.data.metrics:
        yield from ((tag, metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, tag))


def _wandb(folder, name):
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob(f"wandb/offline-run-*/run-{name}.wandb")
    for data in _leveldb_records(path.read_bytes()):
        record = Record.FromString(data)
        if record.HasField("history"):
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            yield from ((tag, values["step"], value) for tag, value in values.items() if "/" in tag)


def _leveldb_records(data):
    """Yield the records of a log in LevelDB's format, after a header of 7 bytes: blocks of 32 KiB, records in fragments."""
    place, parts = 7, []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):  # full, last
            yield b"".join(parts)
            parts = []


def _trackio(folder, name):
    from trackio import sqlite_storage

    sqlite_storage.TRACKIO_DIR = folder
    for row in sqlite_storage.SQLiteStorage.get_logs("depth-harness", name):
        yield from ((tag, row["step"], value) for tag, value in row.items() if "/" in tag)


READERS = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb, "trackio": _trackio}
