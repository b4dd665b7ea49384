"""The log of the harness, on stderr."""

from __future__ import annotations

import logging

log = logging.getLogger("harness")


def log_to_stderr() -> None:
    """Write the log to stderr too; a second call changes nothing."""
    if not any(type(handler) is logging.StreamHandler for handler in log.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
