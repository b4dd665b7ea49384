"""Steps launched as on a GPU, on a CPU."""

from harness.records import paths
from harness.training import step
from harness.training.step import WINDOW


def as_on_a_gpu(monkeypatch):
    """Let steps be read WINDOW at a time and, but for the first, replayed; return what is noted of recordings and replays."""
    noted = []

    def record(launches):
        noted.append("recorded")
        return lambda: (noted.append("replayed"), launches())

    monkeypatch.setattr(step, "window", lambda device: WINDOW)
    monkeypatch.setattr(step, "recordable", lambda device: True)
    monkeypatch.setattr(step, "record", record)
    return noted


def content(run):
    names = set(run.checked_files) - {paths.ENVIRONMENT, paths.EPOCHS}
    files = {name: (run.folder / name).read_bytes() for name in names if (run.folder / name).exists()}
    return files | {paths.EPOCHS: run.epochs.drop(columns="seconds").to_csv()}
