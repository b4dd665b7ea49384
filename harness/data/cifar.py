"""Read the official distributions of CIFAR-10 (pickled or binary batches) and CIFAR-100 (pickled), and download them.

The MD5 sums are those of the authors' files, which torchvision uses too. Both distributions of CIFAR-10 have their images in the
same order.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.registry import ChoiceError
from harness.data import Images, Labels, filesystem
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
"""The alternative folders of a data set, by the name of its class in torchvision."""
RECORD = 1 + 3 * 32 * 32
"""Bytes of a label and an image in a binary batch."""
LARGEST = 256 * reader.MIB
"""Upper bound of a file's size in bytes: CIFAR-10's archive has 163 MiB, CIFAR-100's `train` 148."""


def check(folder: Path) -> None:
    """Raise ChoiceError naming the first file of a distribution that is missing, damaged, or not a regular file."""
    for name, expected in FOLDERS[folder.name].items():
        if (md5 := _md5(folder / name)) != expected:
            raise ChoiceError(f"data.root: {folder / name} is damaged: its MD5 is {md5}, the official file's is {expected}")


def read(folder: Path) -> tuple[Images, Labels, Images, Labels]:
    """Return training images uint8 [50000, 3, 32, 32], their labels int64 [50000], and the same for 10,000 test images.

    Labels of CIFAR-100 are the fine ones, 0 to 99.
    """
    files = FOLDERS[folder.name]
    read_batch = _read_binary if files is BINARY else _read_python
    batches = [read_batch(folder / name) for name in files if name != "meta"]
    images, labels = zip(*batches[:-1], strict=True)
    return np.concatenate(images), np.concatenate(labels), *batches[-1]


def locate(data_set: str, root: str | None, download: bool) -> Path:
    """Return the first distribution of CIFAR10 or CIFAR100 below `root` that is complete, according to its MD5 sums.

    If there is none and `download` is set, torchvision downloads it. Raises ChoiceError otherwise, or if the download fails.
    """
    folders = DISTRIBUTIONS[data_set]
    remedy = f"unpack an official {data_set} archive there, or add data.download=true"
    if root is None:
        raise ChoiceError(f"data.root is not given: data={data_set.lower()} needs data.root=FOLDER")
    path = filesystem.root_folder(root, remedy, may_be_missing=download)
    faults = []
    for name in folders:
        with filesystem.reading(f"data.root={root}"), suppress(FileNotFoundError):
            (path / name).lstat()  # finds broken links, too
            try:
                check(path / name)
                return path / name
            except ChoiceError as error:
                faults.append(str(error))
    if download:
        _download(data_set, path)
        return path / folders[0]
    if faults:
        raise ChoiceError(f"{'; '.join(faults)}; {remedy}")
    raise ChoiceError(f"data.root={root}: holds {'neither ' if folders[1:] else 'no '}{' nor '.join(folders)}; {remedy}")


def _download(data_set: str, root: Path) -> None:
    """Download the Python distribution into `root`, replacing the remains of an earlier download.

    It is downloaded to a temporary folder, checked there and moved file by file, so a failed download changes nothing.
    """
    from torchvision import datasets

    torchvision_class, folder, is_new = getattr(datasets, data_set), DISTRIBUTIONS[data_set][0], not os.path.lexists(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root) as name:
            temporary, archive = Path(name), str(getattr(torchvision_class, "filename", ""))
            if archive and (root / archive).is_file() and _md5(root / archive) == torchvision_class.tgz_md5:
                (temporary / archive).symlink_to((root / archive).resolve())
            torchvision_class(str(temporary), download=True)
            check(temporary / folder)
            (root / folder).mkdir(exist_ok=True)
            for path in sorted((temporary / folder).iterdir()):
                path.replace(root / folder / path.name)
            if (temporary / archive).is_file() and not (temporary / archive).is_symlink():
                (temporary / archive).replace(root / archive)
    except Exception as error:  # torchvision passes on any exception of the network
        if is_new and root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        raise ChoiceError(f"data.download=true: {data_set} could not be downloaded: {reader.describe_error(error)}") from error


def _md5(path: Path) -> str:
    return hashlib.md5(filesystem.read_bytes(path, LARGEST), usedforsecurity=False).hexdigest()


def _read_binary(path: Path) -> tuple[Images, Labels]:
    records = np.frombuffer(filesystem.read_bytes(path, LARGEST), np.uint8).reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """Loads plain values and numpy arrays, and refuses everything else, which might run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a batch file")


def _read_python(path: Path) -> tuple[Images, Labels]:
    batch = _ArrayUnpickler(io.BytesIO(filesystem.read_bytes(path, LARGEST)), encoding="bytes").load()
    labels = batch[b"fine_labels"] if b"fine_labels" in batch else batch[b"labels"]
    return batch[b"data"].reshape(-1, 3, 32, 32), np.asarray(labels, np.int64)
