"""TensorBoard: event files in a folder for each run; values are float32."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.registry import TRACKER
from harness.tracking.scalars import Scalars


@TRACKER.register("tensorboard")
class TensorBoard:
    """FOLDER/RUN/events.out.tfevents.*, where each file begins with a restart at step 0: readers discard earlier files."""

    def __init__(self, folder: Path, name: str, choices: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._proto, self._summary = event_pb2, summary_pb2.Summary
        self._writer = EventFileWriter(str(folder / name))
        self._add(0, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        shown = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in choices.items()}
        self._add(0, summary=hparams_pb(shown, trial_id=name))

    def write(self, rows: Sequence[Scalars]) -> None:
        for step, values in rows:
            points = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            self._add(step, summary=self._summary(value=points))
        self._writer.flush()

    def close(self, state: str) -> None:
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._proto.Event(wall_time=time.time(), step=step, **content))
