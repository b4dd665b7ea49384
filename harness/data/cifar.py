"""The official distributions of CIFAR-10 (pickled batches for Python, or binary ones) and CIFAR-100 (for Python).

The MD5 sums are those of the authors' files, as torchvision has them too; in both distributions of CIFAR-10 the order of the
images is the same.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.config.registry import ChoiceError
from harness.data import places
from harness.records import reader

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
PYTHON_100 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
FOLDERS: Mapping[str, Mapping[str, str]] = {
    "cifar-10-batches-py": PYTHON,
    "cifar-10-batches-bin": BINARY,
    "cifar-100-python": PYTHON_100,
}
DISTRIBUTIONS = {"CIFAR10": ("cifar-10-batches-py", "cifar-10-batches-bin"), "CIFAR100": ("cifar-100-python",)}
"""The folders that hold a data set, under the name of its class in torchvision."""
NO_IMAGES = ("meta",)
RECORD = 1 + 3 * 32 * 32
LARGEST = 256 * reader.MIB
"""Bytes of a file at most: CIFAR-10's archive has 163 MiB, CIFAR-100's `train` 148."""


@dataclass(frozen=True)
class Distribution:
    """One of the distributions, on disk."""

    folder: Path

    def check(self) -> None:
        """Raise ChoiceError naming the first file that is missing, damaged, or no file."""
        for name, expected in FOLDERS[self.folder.name].items():
            path = self.folder / name
            found = _md5(path)
            if found != expected:
                raise ChoiceError(f"data.root: {path} is damaged: its MD5 is {found}, the official file's is {expected}")

    def read(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return train images uint8 [50000, 3, 32, 32], train labels int64 [50000], and the same for 10,000 test images.

        Labels of CIFAR-100 are the fine ones, 0 to 99.
        """
        read = _read_binary if FOLDERS[self.folder.name] is BINARY else _read_python
        batches = [read(self.folder / name) for name in FOLDERS[self.folder.name] if name not in NO_IMAGES]
        images, labels = zip(*batches[:-1], strict=True)
        return np.concatenate(images), np.concatenate(labels), *batches[-1]


def locate(data_set: str, root: str | None, download: bool) -> Distribution:
    """Return the first distribution of CIFAR10 or CIFAR100 below `root` that is whole, by its MD5 sums.

    Where there is none it is fetched through torchvision if `download`; raises ChoiceError otherwise, or if that fails.
    """
    folders = DISTRIBUTIONS[data_set]
    remedy = f"unpack an official {data_set} archive there, or add data.download=true"
    if root is None:
        raise ChoiceError(f"data.root is not given: data={data_set.lower()} needs data.root=FOLDER")
    place = places.folder(root, remedy, absent=download)
    faults = []
    with places.reading(f"data.root={root}"):
        present = [place / name for name in folders if _is_there(place / name)]
        for folder in present:
            try:
                Distribution(folder).check()
                return Distribution(folder)
            except ChoiceError as error:
                faults.append(str(error))
    if download:
        _fetch(data_set, place)
        return Distribution(place / folders[0])
    if faults:
        raise ChoiceError(f"{'; '.join(faults)}; {remedy}")
    raise ChoiceError(f"data.root={root}: holds {'neither ' if folders[1:] else 'no '}{' nor '.join(folders)}; {remedy}")


def _fetch(data_set: str, place: Path) -> None:
    """Put the Python distribution into `place`, over whatever is left of an earlier try.

    It is fetched and checked beside its place, and moved there file by file, so that a fetch that fails changes nothing.
    """
    from torchvision import datasets

    fetch, folder, new = getattr(datasets, data_set), DISTRIBUTIONS[data_set][0], not os.path.lexists(place)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=place) as name:
            aside, archive = Path(name), str(getattr(fetch, "filename", ""))
            if archive and (place / archive).is_file() and _md5(place / archive) == fetch.tgz_md5:
                (aside / archive).symlink_to((place / archive).resolve())
            fetch(str(aside), download=True)
            Distribution(aside / folder).check()
            (place / folder).mkdir(exist_ok=True)
            for path in sorted((aside / folder).iterdir()):
                path.replace(place / folder / path.name)
            if (aside / archive).is_file() and not (aside / archive).is_symlink():
                (aside / archive).replace(place / archive)
    except Exception as error:  # torchvision passes on whatever the network raises
        if new and place.is_dir() and not any(place.iterdir()):
            place.rmdir()
        raise ChoiceError(f"data.download=true: {data_set} could not be fetched: {reader.words(error)}") from error


def _md5(path: Path) -> str:
    return hashlib.md5(_bytes(path), usedforsecurity=False).hexdigest()


def _bytes(path: Path) -> bytes:
    """Return the bytes of a regular file; raises ChoiceError naming it where it is missing or is no such file."""
    with places.reading("data.root"):
        if not _is_there(path):
            raise ChoiceError(f"data.root: {path} is missing")
    return places.read(path, LARGEST)


def _is_there(path: Path) -> bool:
    """Return whether there is anything by that name, a link that leads nowhere included; raises OSError if it cannot be seen."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _read_binary(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    records = np.frombuffer(_bytes(path), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)


class _Arrays(pickle.Unpickler):
    """Reads a pickle of plain values and numpy arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch file")


def _read_python(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    batch = _Arrays(io.BytesIO(_bytes(path)), encoding="bytes").load()
    labels = batch[b"fine_labels"] if b"fine_labels" in batch else batch[b"labels"]
    return batch[b"data"].reshape(-1, 3, 32, 32), np.asarray(labels, np.int64)
