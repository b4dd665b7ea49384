"""Images on the device, and the batches taken from them.

Shapes: N images, B in a batch, C channels, H = W the side, P the padding, M the margin. Images stay uint8; they are cropped,
flipped and normalised as a batch is taken, each with its own random draw. The order and augmentation of epoch e have separate
random streams, (`order`, e) and (`augmentation`, e), so the batch of any step can be computed without those before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from harness.config.data import LocatedData, Split
from harness.config.registry import ChoiceError
from harness.config.seeds import stream_seed
from harness.data import Images, Labels
from harness.data.datasets import Facts, call, proportional, source, stratified_split


class Batch(NamedTuple):
    """Normalised images float32 [B, C, H, W] (channels last) and labels int64 [B]."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Subset:
    """The training, test or held-out images on the device, with their normalisation.

    Attributes:
        images: uint8 [N, C, H+2M, W+2M].
        labels: int64 [N].
        mean: mean of the training images, per pixel [C, H+2M, W+2M], which is subtracted (He et al. 2015, 4.2).
        std: standard deviation of all training pixels, by which inputs are divided; the paper does not divide.
        margin: M.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: float
    margin: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, count: int | None) -> Subset:
        """Return a stratified sample of at most `count` images, the same for every seed; all images for None."""
        if count is None or count >= len(self):
            return self
        labels = self.labels.cpu().numpy()
        _, sample = stratified_split(labels, proportional(labels, count), "eval_images")
        index = torch.from_numpy(sample).to(self.labels.device)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def in_batches(self, size: int) -> Iterator[Batch]:
        """Yield all images once, in order and without their margins, in batches of at most `size`."""
        middle = slice(self.margin, self.images.shape[-1] - self.margin)
        mean = self.mean[:, middle, middle]
        for start in range(0, len(self), size):
            images = self.images[start : start + size, :, middle, middle].float()
            yield Batch(_channels_last((images - mean) / self.std), self.labels[start : start + size])


@dataclass(frozen=True)
class Data:
    """A data set on the device; `holdout` is None unless data.split=holdout, and `checksum` is that of the whole data set."""

    facts: Facts
    train: Subset
    test: Subset
    holdout: Subset | None
    checksum: str


def load(config: LocatedData, device: torch.device) -> Data:
    """Return the data set `config` on `device`, with a holdout if `config.split` says so.

    Raises ChoiceError if the data cannot be read, or if all training images are identical.
    """
    data_set = source(config)
    facts, arrays = call(data_set.facts, config), call(data_set.read, config)
    images, labels, holdout = arrays.train_images, arrays.train_labels, None
    if config.split is Split.holdout:
        rest, tenth = stratified_split(labels, proportional(labels, len(labels) // 10), "holdout")
        images, labels, holdout = images[rest], labels[rest], (images[tenth], labels[tenth])
    if all(np.array_equal(image, images[0]) for image in images):
        raise ChoiceError(f"data={config.name}: all {len(images)} training images are identical, pixel for pixel")
    pixel_mean, std = _moments(images)
    mean = torch.from_numpy(pixel_mean).to(device, torch.float32)

    def subset(images: Images, labels: Labels) -> Subset:
        return Subset(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), mean, std, facts.margin)

    test = subset(arrays.test_images, arrays.test_labels)
    return Data(facts, subset(images, labels), test, subset(*holdout) if holdout else None, arrays.checksum())


def _moments(images: Images) -> tuple[npt.NDArray[np.float64], float]:
    """Return the mean of each pixel [C, H, W], and the standard deviation about it over all pixels and images."""
    mean = images.mean(axis=0, dtype=np.float64)
    counts = sum(np.bincount(image.reshape(-1), minlength=256) for image in images)  # one at a time: bincount copies to int64
    mean_square = float(counts @ np.arange(256.0) ** 2) / images.size
    return mean, float(np.sqrt(mean_square - (mean**2).mean()))


class Batches:
    """The training batch of each step. Every epoch has a new order; its last, partial batch is dropped."""

    def __init__(self, subset: Subset, facts: Facts, size: int, seed: int, augment: bool) -> None:
        self._subset, self._facts, self._size, self._seed = subset, facts, size, seed
        self._padding = facts.padding if augment else 0
        self._first_offset = 0 if augment else facts.margin
        self._offsets = 1 + (2 * (facts.padding + facts.margin) if augment else 0)
        self._flip = facts.flip and augment
        self._epoch = -1
        device = subset.images.device
        self._order, self._rows, self._columns = torch.zeros((3, len(subset)), dtype=torch.int64, device=device)
        self._mirrored = torch.zeros(len(subset), dtype=torch.bool, device=device)
        self._positions = torch.arange(size, device=device)

    @property
    def per_epoch(self) -> int:
        """Batches per epoch."""
        return len(self._subset) // self._size

    def at(self, step: int) -> Batch:
        """Return the batch of `step` (from 0)."""
        self.prepare(step)
        return self.cut(torch.tensor(step, device=self._positions.device))

    def prepare(self, step: int) -> None:
        """Draw the order, crops and flips of the epoch of `step` on the CPU, the same for every device."""
        n, epoch = len(self._subset), step // self.per_epoch
        if epoch == self._epoch:
            return
        order, augmentation = torch.Generator(), torch.Generator()
        order.manual_seed(stream_seed(self._seed, "order", epoch))
        augmentation.manual_seed(stream_seed(self._seed, "augmentation", epoch))
        offsets = self._first_offset + torch.randint(0, self._offsets, (2, n), generator=augmentation)
        mirrored = torch.rand(n, generator=augmentation) < 0.5
        self._order.copy_(torch.randperm(n, generator=order))
        self._rows.copy_(offsets[0])
        self._columns.copy_(offsets[1])
        self._mirrored.copy_(mirrored & self._flip)
        self._epoch = epoch

    def cut(self, step: Tensor) -> Batch:
        """Return the batch of `step`, an integer tensor on the device, without synchronisation; its epoch must be prepared.

        Images and mean are cropped alike, so padding is zero after normalisation.
        """
        position, side = step % self.per_epoch * self._size + self._positions, self._facts.size
        index, row, column = self._order[position], self._rows[position], self._columns[position]
        images = _windows(self._padded_images, side)[index, :, row, column].float()
        images = (images - _windows(self._padded_mean, side)[0, :, row, column].transpose(0, 1)) / self._subset.std
        if self._flip:
            images = torch.where(self._mirrored[position][:, None, None, None], images.flip(-1), images)
        return Batch(_channels_last(images), self._subset.labels[index])

    @cached_property
    def _padded_images(self) -> Tensor:
        return functional.pad(self._subset.images, (self._padding,) * 4) if self._padding else self._subset.images

    @cached_property
    def _padded_mean(self) -> Tensor:
        return functional.pad(self._subset.mean[None], (self._padding,) * 4)


def _windows(padded: Tensor, side: int) -> Tensor:
    """Return all crops as a view: [N, C, H+2P, W+2P] to [N, C, 2P+1, 2P+1, H, W]; images with a margin have M instead of P."""
    return padded.unfold(2, side, 1).unfold(3, side, 1)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
