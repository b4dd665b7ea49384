"""The states of a run."""

from __future__ import annotations

STATES = ("waiting", "running", "interrupted", "done", "diverged", "failed", "killed")
"""The states that status.json may have, in the order in which tables list them."""
WAITING, RUNNING, INTERRUPTED, DONE, DIVERGED, FAILED, KILLED = STATES
FINISHED = (DONE, DIVERGED)
"""States of a run that has a result."""
DAMAGED = "damaged"
"""Reported for a run whose files cannot be read; never in status.json."""
