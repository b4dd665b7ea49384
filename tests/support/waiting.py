"""Wait for something that another process does."""

import time


def until(condition, seconds=60.0):
    """Wait for a condition; raises AssertionError if it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
