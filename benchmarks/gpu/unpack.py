"""Unpack the pieces of CIFAR-10 in FOLDER, which also holds unpack_cifar10.py, into DEST/cifar-10-batches-bin.

python -m benchmarks.gpu.unpack FOLDER DEST

Each piece is unpacked by a process of its own and checked by MD5.
"""

import hashlib
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np


def unpack(folder, target, name):
    """Unpack one batch; return what happened in words."""
    sys.path.insert(0, str(folder))
    import unpack_cifar10 as packing

    final = target / f"{name}.bin"
    if final.exists() and hashlib.md5(final.read_bytes()).hexdigest() == packing.OFFICIAL_MD5[name]:
        return f"{name}: there"
    packed = (folder / f"{name}.medxz").read_bytes()
    labels = np.frombuffer(packed[: packing.RECORDS], np.uint8)
    images = packing.decode(packed[packing.RECORDS :]).reshape(packing.RECORDS, 3072)
    data = np.concatenate([labels[:, None], images], axis=1).tobytes()
    if hashlib.md5(data).hexdigest() != packing.OFFICIAL_MD5[name]:
        return f"{name}: damaged"
    partial = final.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(final)
    return f"{name}: unpacked"


if __name__ == "__main__":
    folder, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2]) / "cifar-10-batches-bin"
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in folder.glob("*.medxz"))
    with ProcessPoolExecutor() as pool:
        for line in pool.map(unpack, [folder] * len(names), [target] * len(names), names):
            print(line, flush=True)
    print(f"{len(list(target.glob('*.bin')))} of 6 batches there")
