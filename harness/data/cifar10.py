"""CIFAR-10's two official distributions: the pickled batches for Python and the binary ones.

The MD5 sums are those of the authors' files, in both the order of the images is the same.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.choices import ChoiceError

PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
FOLDERS: Mapping[str, Mapping[str, str]] = {"cifar-10-batches-py": PYTHON, "cifar-10-batches-bin": BINARY}
RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True)
class Distribution:
    """One of the two distributions, on disk."""

    folder: Path

    def check(self) -> None:
        """Raise ChoiceError naming the first file that is missing or damaged."""
        for name, expected in FOLDERS[self.folder.name].items():
            path = self.folder / name
            if not path.is_file():
                raise ChoiceError(f"data.root: {path} is missing")
            found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if found != expected:
                raise ChoiceError(f"data.root: {path} is damaged: its MD5 is {found}, the official file's is {expected}")

    def read(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return train images uint8 [50000, 3, 32, 32], train labels int64 [50000], and the same for 10,000 test images."""
        read = _read_python if FOLDERS[self.folder.name] is PYTHON else _read_binary
        batches = [read(self.folder / name) for name in FOLDERS[self.folder.name]]
        images, labels = zip(*batches[:-1], strict=True)
        return np.concatenate(images), np.concatenate(labels), *batches[-1]


def locate(root: str | None, download: bool) -> Distribution:
    """Return the distribution below `root`, fetched through torchvision if `download`; raises ChoiceError if none is there."""
    if root is None:
        raise ChoiceError("data.root is not given: data=cifar10 needs data.root=FOLDER")
    place = Path(root).expanduser()
    if download and not any((place / name).is_dir() for name in FOLDERS):
        _fetch(place)
    if not place.exists():
        raise ChoiceError(f"data.root={root}: there is no such folder; {_remedy()}")
    if not place.is_dir():
        raise ChoiceError(f"data.root={root}: is a file, not a folder")
    for name in FOLDERS:
        if (place / name).is_dir():
            return Distribution(place / name)
    raise ChoiceError(f"data.root={root}: holds neither {' nor '.join(FOLDERS)}; {_remedy()}")


def _remedy() -> str:
    return "unpack an official CIFAR-10 archive there, or add data.download=true"


def _fetch(place: Path) -> None:
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(str(place), download=True)
    except Exception as error:  # torchvision passes on whatever the network raises
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        raise ChoiceError(f"data.download=true: CIFAR-10 could not be fetched: {error}") from error


def _read_binary(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)


class _Arrays(pickle.Unpickler):
    """Reads a pickle of plain values and numpy arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch file")


def _read_python(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    batch = _Arrays(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    return batch[b"data"].reshape(-1, 3, 32, 32), np.asarray(batch[b"labels"], np.int64)
