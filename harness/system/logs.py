"""The logger of the harness."""

from __future__ import annotations

import logging

log = logging.getLogger("harness")


def log_to_stderr() -> None:
    """Also write the log to stderr. A second call changes nothing."""
    if not any(type(handler) is logging.StreamHandler for handler in log.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
