"""Resident images and the batches cut from them on the device.

Shapes: N images, B a batch, C channels, H = W the side, P the padding, M the margin. Images stay uint8; a batch is cropped,
flipped and normalised as it is cut, each image by its own draw. Epoch e's order and augmentation are streams of their own
(`order`, e) and (`augmentation`, e), so any step's batch can be had without the ones before it.
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
from harness.data.datasets import Facts, Images, Labels, ask, proportional, source, stratified_split


class Batch(NamedTuple):
    """Normalised images float32 [B, C, H, W] (channels last) and labels int64 [B]."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Part:
    """Images of one purpose on the device: uint8 [N, C, H+2M, W+2M], labels int64 [N], and how to normalise them.

    The per-pixel mean of the training images is subtracted (He et al. 2015, 4.2); dividing by their one overall
    standard deviation, so that inputs have unit variance, is ours.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: float
    margin: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, count: int | None) -> Part:
        """Return at most `count` of the images, of every class in proportion, the same for every seed; all of them for None."""
        if count is None or count >= len(self):
            return self
        labels = self.labels.cpu().numpy()
        _, taken = stratified_split(labels, proportional(labels, count), "eval_images")
        index = torch.from_numpy(taken).to(self.labels.device)
        return replace(self, images=self.images[index], labels=self.labels[index])

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield the images once, without their margins, in batches of at most `size`."""
        middle = slice(self.margin, self.images.shape[-1] - self.margin)
        mean = self.mean[:, middle, middle]
        for start in range(0, len(self), size):
            images = self.images[start : start + size, :, middle, middle].float()
            yield Batch(_channels_last((images - mean) / self.std), self.labels[start : start + size])


@dataclass(frozen=True)
class Data:
    """The parts of a data set on the device, `holdout` None unless data.split=holdout; `checksum` is of the whole set."""

    facts: Facts
    train: Part
    test: Part
    holdout: Part | None
    checksum: str


def load(config: LocatedData, device: torch.device) -> Data:
    """Return the data set `config` on `device`, split as asked; mean and std are those of the images trained on.

    Raises ChoiceError where the data cannot be read, or where the images trained on are all the same.
    """
    found = source(config)
    facts, arrays = ask(found.facts, config), ask(found.read, config)
    images, labels, holdout = arrays.train_images, arrays.train_labels, None
    if config.split is Split.holdout:
        kept, held = stratified_split(labels, proportional(labels, len(labels) // 10), "holdout")
        images, labels, holdout = images[kept], labels[kept], (images[held], labels[held])
    if all(np.array_equal(image, images[0]) for image in images):
        raise ChoiceError(
            f"data={config.name}: all {len(images)} images to train on are the same, pixel for pixel: "
            "there is nothing to tell apart"
        )
    pixel_mean, std = _moments(images)
    mean = torch.from_numpy(pixel_mean).to(device, torch.float32)

    def part(images: Images, labels: Labels) -> Part:
        return Part(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), mean, std, facts.margin)

    test = part(arrays.test_images, arrays.test_labels)
    return Data(facts, part(images, labels), test, part(*holdout) if holdout else None, arrays.checksum())


def _moments(images: Images) -> tuple[npt.NDArray[np.float64], float]:
    """Return the mean of every pixel [C, H, W], and the standard deviation about it over all pixels and images."""
    mean = images.mean(axis=0, dtype=np.float64)
    counts = sum(np.bincount(image.reshape(-1), minlength=256) for image in images)  # one by one: bincount copies to int64
    mean_square = float(counts @ np.arange(256.0) ** 2) / images.size
    return mean, float(np.sqrt(mean_square - (mean**2).mean()))


class Batches:
    """The training batches, by step: shuffled each epoch, the last partial batch dropped."""

    def __init__(self, part: Part, facts: Facts, size: int, seed: int, augment: bool) -> None:
        self._part, self._facts, self._size, self._seed = part, facts, size, seed
        self._padding = facts.padding if augment else 0
        self._first = 0 if augment else facts.margin
        self._reach = 2 * (facts.padding + facts.margin) if augment else 0
        self._flip = facts.flip and augment
        self._epoch = -1
        device = part.images.device
        self._order, self._rows, self._columns = torch.zeros((3, len(part)), dtype=torch.int64, device=device)
        self._mirrored = torch.zeros(len(part), dtype=torch.bool, device=device)
        self._places = torch.arange(size, device=device)

    @property
    def per_epoch(self) -> int:
        """Batches an epoch."""
        return len(self._part) // self._size

    def at(self, step: int) -> Batch:
        """Return the batch of `step` (from 0)."""
        self.prepare(step)
        return self.cut(torch.tensor(step, device=self._places.device))

    def prepare(self, step: int) -> None:
        """Put the order and augmentation of the epoch that `step` is in where `cut` looks for them."""
        if step // self.per_epoch != self._epoch:
            self._draw(step // self.per_epoch)

    def cut(self, step: Tensor) -> Batch:
        """Return the batch of `step`, a whole number on the device, of the epoch that was prepared, without the host."""
        place = step % self.per_epoch * self._size + self._places
        return self._cut(self._order[place], self._rows[place], self._columns[place], self._mirrored[place])

    def _draw(self, epoch: int) -> None:
        """Draw the order, crop and flip of every image of an epoch on the CPU, the same on every device."""
        n = len(self._part)
        order, augmentation = torch.Generator(), torch.Generator()
        order.manual_seed(stream_seed(self._seed, "order", epoch))
        augmentation.manual_seed(stream_seed(self._seed, "augmentation", epoch))
        offsets = self._first + torch.randint(0, self._reach + 1, (2, n), generator=augmentation)
        mirrored = torch.rand(n, generator=augmentation) < 0.5
        self._order.copy_(torch.randperm(n, generator=order))
        self._rows.copy_(offsets[0])
        self._columns.copy_(offsets[1])
        self._mirrored.copy_(mirrored & self._flip)
        self._epoch = epoch

    def _cut(self, index: Tensor, row: Tensor, column: Tensor, mirrored: Tensor) -> Batch:
        """Crop image and mean alike, so that the margin is zero after normalisation, then mirror."""
        side = self._facts.size
        images = _windows(self._padded_images, side)[index, :, row, column].float()
        images = (images - _windows(self._padded_mean, side)[0, :, row, column].transpose(0, 1)) / self._part.std
        if self._flip:
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return Batch(_channels_last(images), self._part.labels[index])

    @cached_property
    def _padded_images(self) -> Tensor:
        return functional.pad(self._part.images, (self._padding,) * 4) if self._padding else self._part.images

    @cached_property
    def _padded_mean(self) -> Tensor:
        return functional.pad(self._part.mean[None], (self._padding,) * 4)


def _windows(padded: Tensor, side: int) -> Tensor:
    """Return every crop as a view: [N, C, H+2P, W+2P] to [N, C, 2P+1, 2P+1, H, W], M in place of P where images have a margin."""
    return padded.unfold(2, side, 1).unfold(3, side, 1)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
