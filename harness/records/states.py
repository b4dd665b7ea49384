"""The states of a run."""

from __future__ import annotations

STATES = ("waiting", "running", "interrupted", "done", "diverged", "failed", "killed")
"""What a run's status may name, in the order in which they are listed."""
WAITING, RUNNING, INTERRUPTED, DONE, DIVERGED, FAILED, KILLED = STATES
FINISHED = (DONE, DIVERGED)
"""States of a run that has a result."""
DAMAGED = "damaged"
"""What a report says of a run whose files cannot be read; never in a status."""
