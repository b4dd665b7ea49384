"""The GPU's launching of training steps, imitated on the CPU."""

from harness.records import paths
from harness.training import step
from harness.training.step import WINDOW


def imitate_gpu(monkeypatch):
    """Fetch scalars every WINDOW steps and replay recorded steps, as on a GPU.

    Returns the list to which each "recorded" and "replayed" step is appended.
    """
    events = []

    def record(launches):
        events.append("recorded")
        return lambda: (events.append("replayed"), launches())

    monkeypatch.setattr(step, "window", lambda device: WINDOW)
    monkeypatch.setattr(step, "can_record_graph", lambda device: True)
    monkeypatch.setattr(step, "record_graph", record)
    return events


def content(run):
    names = set(run.checked_files) - {paths.ENVIRONMENT, paths.EPOCHS}
    files = {name: (run.folder / name).read_bytes() for name in names if (run.folder / name).exists()}
    return files | {paths.EPOCHS: run.epochs.drop(columns="seconds").to_csv()}
