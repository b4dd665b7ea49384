"""Which images a run trains on, and what is done to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import cast

from harness.config.registry import DATA, ChoiceError, shown
from harness.config.validation import assign, flag, member, whole


class Split(str, Enum):
    """Training images used: all of them, or all but a tenth that is held out (He et al. 2015, 4.2: 45k/5k)."""

    full = "full"
    holdout = "holdout"


IMAGE_FOLDER = "image_folder"
IMAGE_SIZE = 224
"""Side in pixels to which a user's own images are cut, as in He et al. 2015, section 3.4."""
RESIZE_MOST = 8
"""How many times `image_size` an image may be kept: the net sees a 64th of it then."""
FIXED = ("digits", "cifar10", "cifar100")
"""The data sets whose name says which images they are, and of what size."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, and what is done to them.

    `image_size`, the side in pixels, and `content` are None for `FIXED` data sets. `content` says which images were found
    below `root`; it is filled in when they are checked (`harness.data.datasets`), and where it is given they must be those.
    `resize` is for `IMAGE_FOLDER` alone: the side in pixels to which the shorter side of an image is scaled before it is cut.
    """

    name: str = "digits"
    root: str | None = None
    download: bool = False
    split: Split = Split.full
    augment: bool = True
    image_size: int | None = None
    resize: int | None = None
    content: str | None = None

    def __post_init__(self) -> None:
        DATA.check(self.name)
        if self.root is not None and (not isinstance(self.root, str) or not self.root):
            raise ChoiceError(f"data.root={shown(self.root)}: must be a folder's path or null")
        flag("data.download", self.download)
        flag("data.augment", self.augment)
        assign(self, split=member("data.split", self.split, Split))
        for key in ("image_size", "resize", "content"):
            if self.name in FIXED and (given := getattr(self, key)) is not None:
                raise ChoiceError(
                    f"data.{key}={shown(given)}: data={self.name} has its own images, of one size; for {IMAGE_FOLDER} alone"
                )
        if self.content is not None and not re.fullmatch(r"sha256:[0-9a-f]{16}", str(self.content)):
            raise ChoiceError(f"data.content={shown(self.content)}: must be sha256: and 16 hexadecimal digits, or null")
        if self.name == IMAGE_FOLDER:
            if self.download:
                raise ChoiceError(f"data.download=true: data={IMAGE_FOLDER} is of your own images; there is nothing to fetch")
            assign(self, image_size=IMAGE_SIZE if self.image_size is None else self.image_size)
        if self.image_size is not None:
            whole("data.image_size", self.image_size, 1)
        if self.resize is not None:
            self._check_resize()

    def _check_resize(self) -> None:
        given = f"data.resize={shown(self.resize)}"
        if self.name != IMAGE_FOLDER or self.image_size is None:
            raise ChoiceError(f"{given}: is for data={IMAGE_FOLDER}, not for data={self.name}; nearest is data.resize=null")
        whole("data.resize", self.resize, 1)
        least, most = self.image_size, RESIZE_MOST * self.image_size
        if not least <= cast(int, self.resize) <= most:
            nearest = least if cast(int, self.resize) < least else most
            allowed = f"from data.image_size to {RESIZE_MOST} times that, {least} to {most}, or null"
            raise ChoiceError(f"{given}: must be {allowed}; nearest is data.resize={nearest}")
