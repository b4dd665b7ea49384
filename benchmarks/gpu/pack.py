"""Pack many files into few pieces, and unpack them, checked by SHA-256.

    python -m benchmarks.gpu.pack out SOURCE OUT [PATTERN ...]   files below SOURCE that match (default: all) into OUT/pack-NN
    python -m benchmarks.gpu.pack in OUT... DEST                 the same files again

Four-byte numbers are split into their byte planes before compression: exponents repeat, mantissas do not.
"""

import fnmatch
import hashlib
import json
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PIECE = 15_900_000
"""Bytes of a piece."""
SLICE = 2**20
MOST_PIECES = 7


def squeeze(data):
    """Return the compressed slices of `data`."""

    def squeeze_slice(part):
        whole = len(part) // 4 * 4
        planes = np.frombuffer(part[:whole], np.uint8).reshape(-1, 4).T.tobytes() + part[whole:]
        return zlib.compress(planes, 4)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(squeeze_slice, (data[start : start + SLICE] for start in range(0, len(data), SLICE))))


def restore(packed):
    """Return the bytes of one compressed slice."""
    planes = zlib.decompress(packed)
    whole = len(planes) // 4 * 4
    return np.frombuffer(planes[:whole], np.uint8).reshape(4, -1).T.tobytes() + planes[whole:]


def pack(source, target, patterns):
    """Write the files below `source` that match a pattern as pieces into `target`."""
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*") if path.is_file())
    names = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    index, stream = [], bytearray()
    for name in names:
        data = (source / name).read_bytes()
        parts = squeeze(data)
        index.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(), "parts": [len(part) for part in parts]})
        stream += b"".join(parts)
    head = zlib.compress(json.dumps(index).encode())
    stream = len(head).to_bytes(8, "big") + head + stream
    target.mkdir(parents=True, exist_ok=True)
    pieces = [stream[start : start + PIECE] for start in range(0, len(stream), PIECE)]
    for number, piece in enumerate(pieces):
        (target / f"pack-{number:02d}").write_bytes(piece)
    print(f"{len(names)} files packed into {len(pieces)} pieces of {len(stream) / 1e6:.1f} MB")
    if len(pieces) > MOST_PIECES:
        print("more than one trip brings back: choose files by pattern, and bring the rest with the next trip")


def unpack(sources, target):
    """Write the files of the pieces in `sources` below `target`; raises ValueError for a file whose checksum differs."""
    for source in sources:
        stream = b"".join(path.read_bytes() for path in sorted(source.glob("pack-*")))
        start = 8 + int.from_bytes(stream[:8], "big")
        for entry in json.loads(zlib.decompress(stream[8:start])):
            data = bytearray()
            for length in entry["parts"]:
                data += restore(stream[start : start + length])
                start += length
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise ValueError(f"{entry['name']}: damaged")
            path = target / entry["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


if __name__ == "__main__":
    if sys.argv[1] == "out":
        pack(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:] or ["*"])
    else:
        unpack([Path(folder) for folder in sys.argv[2:-1]], Path(sys.argv[-1]))
