"""What depth does to a network: train plain and residual nets of growing depth and measure every layer's gradient.

    import harness
    run = harness.train(harness.RunConfig(depth=20, shortcut="none"))
    run.train_error, run.layers

Importing this package does not import torch; the first use of `harness.train` does.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"]:  # `python -m harness.COMMAND`, before it imports anything else
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback while the next line is loaded
    from harness.system import console

    console.guard()

from typing import TYPE_CHECKING, Any

from harness.config.data import DataConfig
from harness.config.execution import ExecutionConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig

if TYPE_CHECKING:
    from harness.training.train import RunFailed, train

__all__ = ["ChoiceError", "DataConfig", "ExecutionConfig", "RunConfig", "RunFailed", "ScheduleConfig", "train"]


def __getattr__(name: str) -> Any:
    if name in ("train", "RunFailed"):
        from harness.training import train

        return getattr(train, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
