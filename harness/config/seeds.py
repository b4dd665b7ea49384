"""Seeds of named random streams: one root seed, an independent stream for each purpose."""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *names: str | int) -> int:
    """Return the 63-bit seed of the stream `names` under the root `seed`.

    Streams with different names are independent for all practical purposes (SHA-256), and adding one changes no other.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
