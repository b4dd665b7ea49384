"""The engine without processes: the runs are trained one after the other in the process of the command, for debuggers."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.registry import LAUNCHER
from harness.config.run import RunConfig
from harness.launching.engine import Engine
from harness.launching.worker import work
from harness.system.owner import Owner
from harness.system.signals import stop_on_signals


@LAUNCHER.register("inline")
class Inline(Engine):
    """One worker, which is this process."""

    def room(self, configs: Sequence[RunConfig]) -> int:
        return 1

    def start(self, count: int) -> None:
        with stop_on_signals() as stop:
            work([self.sweep], attached=False, gpu=None, wait=False, stop=stop, together=self.together)

    def live(self) -> int:
        return 0

    def owns(self, owner: Owner) -> bool:
        return False

    def why(self) -> str:
        return "the log above says why"

    def finish(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self, wait: bool) -> None:
        pass
