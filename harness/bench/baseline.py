"""A plain training loop, as in most public trainers, with which the harness's step is compared.

Images are PIL images, augmented one by one in the worker processes of a DataLoader. The net is in PyTorch's default layout
(contiguous NCHW) and fp32. The optimizer is torch.optim.SGD. Loss, number of correct answers and the norm of every parameter's
gradient are fetched by `.item()` at every step. Nets and hyperparameters equal the harness's; no code is shared.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.bench.machine import synchronize
from harness.bench.workload import LEARNING_RATE, Cell
from harness.data.datasets import Arrays, Facts, source

WORKERS = 2
"""Processes that prepare images, as in a widely copied CIFAR-10 trainer (kuangliu/pytorch-cifar, main.py)."""


class Images(Dataset[tuple[Tensor, int]]):
    """The training images, transformed one by one."""

    def __init__(self, arrays: Arrays, facts: Facts) -> None:
        self.pixels = arrays.train_images.transpose(0, 2, 3, 1).squeeze(-1 if facts.channels == 1 else ())
        self.labels = arrays.train_labels.tolist()
        steps: list[Any] = [transforms.ToPILImage(), transforms.RandomCrop(facts.size, padding=facts.padding)]
        steps += [transforms.RandomHorizontalFlip()] if facts.flip else []
        mean, std = (0.5,) * facts.channels, (0.25,) * facts.channels
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pixels[index]), self.labels[index]


class BasicBlock(nn.Module):
    """Two convolutions with batch normalisation, and the option-A shortcut of He et al. 2015 or none."""

    def __init__(self, into: int, out: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.added, self.residual = stride, out - into, residual

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.residual:
            if self.added:
                x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
            out = out + x
        return functional.relu(out)


class ResNet(nn.Module):
    """The net of He et al. 2015, section 4.2, plain or residual, of 6n+2 layers."""

    def __init__(self, depth: int, residual: bool, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, into = [], 16
        for out in (16, 32, 64):
            for _ in range((depth - 2) // 6):
                blocks.append(BasicBlock(into, out, 2 if out > into else 1, residual))
                into = out
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(into, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(functional.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.linear(functional.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


class Reference:
    """The training loop on one net; `workers` processes prepare its images."""

    def __init__(self, cell: Cell, workers: int = WORKERS) -> None:
        self.device, self.threads = torch.device(cell.device), cell.threads
        facts = cell.facts
        self.model = ResNet(cell.depth, cell.shortcut != "none", facts.channels, facts.classes).to(self.device)
        self.criterion = nn.CrossEntropyLoss()
        schedule = cell.config.schedule
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=LEARNING_RATE, momentum=schedule.momentum, weight_decay=schedule.weight_decay
        )
        self.loader = DataLoader(
            Images(source(cell.data).read(cell.data), facts),
            batch_size=cell.batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        self.stream = chain.from_iterable(repeat(self.loader))
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.correct = 0.0

    def step(self, times: int) -> None:
        """Take training steps."""
        torch.set_num_threads(self.threads)
        for _ in range(times):
            images, labels = next(self.stream)
            self.train(images.to(self.device), labels.to(self.device))
        synchronize(self.device)

    def batches(self, times: int) -> None:
        """Load batches, without using them."""
        for _ in range(times):
            next(self.stream)

    def train(self, images: Tensor, labels: Tensor) -> None:
        """Train on a batch: normalised images [B, C, H, W] and labels [B]."""
        self.model.train()
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.criterion(logits, labels)
        loss.backward()
        self.norms = [p.grad.norm().item() for p in self.model.parameters() if p.grad is not None]
        self.optimizer.step()
        self.losses.append(loss.item())
        self.correct += logits.argmax(1).eq(labels).sum().item()
