"""The keys of the data, and what the name of each built-in data set implies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import cast

from harness.config.registry import DATA, ChoiceError, shown
from harness.config.schedule import ScheduleConfig
from harness.config.validation import assign, check_flag, check_member, check_whole

IMAGE_FOLDER = "image_folder"
IMAGE_SIZE = 224
"""Default side in pixels to which a user's own images are cut (He et al. 2015, section 3.4)."""
RESIZE_MOST = 8
"""Upper bound of `resize` as a multiple of `image_size`: at this size the network sees 1/64 of the image."""


@dataclass(frozen=True)
class DataSet:
    """What a built-in data set's name implies. Its images are read by `harness.data.datasets`."""

    sentence: str
    """What it contains."""
    schedule: ScheduleConfig
    """The schedule of schedule=NAME."""
    fixed: bool = True
    """Whether the name alone determines the images and their size."""
    needs_root: bool = True
    """Whether the images are in the folder `data.root`."""


DATA_SETS: Mapping[str, DataSet] = {
    "digits": DataSet(
        "1,797 real 8x8 images of handwritten digits (UCI), embedded",
        ScheduleConfig(steps=1_000, learning_rate=0.01, eval_every=55),
        needs_root=False,
    ),
    "cifar10": DataSet("60,000 real 32x32 colour images in 10 classes, read below data.root", ScheduleConfig()),
    "cifar100": DataSet("60,000 real 32x32 colour images in 100 classes, read below data.root", ScheduleConfig()),
    IMAGE_FOLDER: DataSet(
        "your own images in data.root/train/CLASS and data.root/test/CLASS, cropped to data.image_size",
        ScheduleConfig(steps=600_000, batch_size=256),
        fixed=False,
    ),
}
"""The built-in data sets. The schedules equal those of conf/schedule/, which a test compares."""
DATA.declare({name: data_set.sentence for name, data_set in DATA_SETS.items()})
SCHEDULES: dict[str, ScheduleConfig] = {name: replace(data_set.schedule) for name, data_set in DATA_SETS.items()}
"""The schedule of each data set; `replace` makes every key count as given."""


def is_fixed(name: str) -> bool:
    """Return whether the name of a data set alone determines its images; a plugin's data set has its own rule."""
    return name in DATA_SETS and DATA_SETS[name].fixed


def needs_root(name: str) -> bool:
    """Return whether a built-in data set is read below `data.root`."""
    return name in DATA_SETS and DATA_SETS[name].needs_root


class Split(str, Enum):
    """Training images: all, or all except a held-out tenth (He et al. 2015, 4.2: 45k/5k)."""

    full = "full"
    holdout = "holdout"


@dataclass(frozen=True)
class DataConfig:
    """A data set, and how its images are prepared.

    Args:
        image_size: side in pixels of the images that the network sees; None for fixed data sets.
        resize: for `IMAGE_FOLDER` only, the length in pixels to which the shorter side is scaled before the image is cut.
        content: hash of the images below `data.root`, None for fixed data sets. `harness.data.datasets.check` fills it in; if it
            is given, the images must match it.
    """

    name: str = "digits"
    split: Split = Split.full
    augment: bool = True
    image_size: int | None = None
    resize: int | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        DATA.check(self.name)
        check_flag("data.augment", self.augment)
        assign(self, split=check_member("data.split", self.split, Split))
        for key in ("image_size", "resize", "content"):
            if is_fixed(self.name) and (given := getattr(self, key)) is not None:
                raise ChoiceError(
                    f"data.{key}={shown(given)}: data={self.name} has its own images, of one size; for {IMAGE_FOLDER} alone"
                )
        if self.content is not None and not re.fullmatch(r"sha256:[0-9a-f]{16}", str(self.content)):
            raise ChoiceError(f"data.content={shown(self.content)}: must be sha256: and 16 hexadecimal digits, or null")
        if self.name == IMAGE_FOLDER and self.image_size is None:
            assign(self, image_size=IMAGE_SIZE)
        if self.image_size is not None:
            check_whole("data.image_size", self.image_size, 1)
        if self.resize is not None:
            self._check_resize()

    def _check_resize(self) -> None:
        given = f"data.resize={shown(self.resize)}"
        if self.name != IMAGE_FOLDER or self.image_size is None:
            raise ChoiceError(f"{given}: is for data={IMAGE_FOLDER}, not for data={self.name}; nearest is data.resize=null")
        check_whole("data.resize", self.resize, 1)
        least, most = self.image_size, RESIZE_MOST * self.image_size
        if (nearest := min(max(cast(int, self.resize), least), most)) != self.resize:
            allowed = f"from data.image_size to {RESIZE_MOST} times that, {least} to {most}, or null"
            raise ChoiceError(f"{given}: must be {allowed}; nearest is data.resize={nearest}")


@dataclass(frozen=True)
class LocatedData(DataConfig):
    """A data set together with the folder that holds it."""

    root: str | None = None
    download: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.root is not None and (not isinstance(self.root, str) or not self.root):
            raise ChoiceError(f"data.root={shown(self.root)}: must be a folder's path or null")
        check_flag("data.download", self.download)
        if self.name == IMAGE_FOLDER and self.download:
            raise ChoiceError(f"data.download=true: data={IMAGE_FOLDER} has your own images; there is nothing to download")
