"""What theory says of a net at initialisation, to stand beside what is measured.

Everything here is a mean over initial values of a net of the CIFAR family (He et al. 2015, section 4.2: 3x3 convolutions with
zero padding, ReLU, gamma 1, beta 0). Nothing is fitted. Means of squares are exact where the docstrings say so; a single net of
few channels lies below them most of the time, since the logarithm of a product of random factors has a mean below the logarithm
of their mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

SQUARED_GRADIENT_FACTOR = math.pi / (math.pi - 1)
"""Growth per layer towards the input of ||dL/d activations||^2 in a plain net of convolution, BN, ReLU: 1.467.

Yang et al. 2019 (arXiv:1902.08129), Theorem 8. Where it comes from, for infinite width and batch: let z be what BN puts out,
standard normal, and uncorrelated from sample to sample. Its ReLU has second moment 1/2 and mean 1/sqrt(2 pi), so its variance is
(pi - 1) / (2 pi). The next convolution, of weights with variance v and k inputs, gives a variance v k (pi - 1) / (2 pi) about
the mean of the batch, by which BN divides. On the way back BN multiplies the mean square gradient by the inverse of that, the
convolution by v k (summed over all elements, not per element, so whatever the stride and the number of channels), and ReLU by
1/2: v and k cancel, and pi / (pi - 1) is left. It would be 1 if BN did not take away the mean that ReLU makes.

In a net of images positions of one image are correlated, BN averages over them too, and padding and finite width take their
share: the line is drawn, not tested.

||dL/dW|| grows alike within a stage. If gradients do not depend on activations, and sum to zero over the batch as those behind
a BN do, its mean square is that of dL/d(convolution's output) times k (pi - 1) / (2 pi), and k changes only between stages.
"""
GRADIENT_FACTOR = math.sqrt(SQUARED_GRADIENT_FACTOR)
"""The same of the norm: 1.211."""
SMALLEST: Mapping[str, float] = {"fp32": 1.4e-45, "bf16": 1.2e-38}
"""By precision, the smallest number above zero that an element of a gradient can be: float32's smallest subnormal number, and its
smallest normal one in bfloat16, since there a CPU's convolutions were seen to take subnormal numbers for zero
(results/findings/2026-11-24-vanishing-cifar10-no-norm); whether a GPU's do is not known."""


class Net(NamedTuple):
    """What theory has to know of a run; each field is the key of that name."""

    depth: int
    width: int
    shortcut: str
    norm: str
    init: str
    order: str
    family: str
    block: str
    batch_size: int

    @property
    def is_known(self) -> bool:
        """Whether it is of the family and blocks that this module is about."""
        return self.family == "cifar" and self.block == "basic"


class Map(NamedTuple):
    """What a convolution puts out: square maps of `side` positions, and how many."""

    side: int
    channels: int


def plain_net(depth: int, width: int, side: int) -> list[Map]:
    """Return the outputs of the stem and of each 3x3 convolution of a net of 6n+2 layers on images of `side` pixels."""
    found = [Map(side, width)]
    for stage in range(3):
        side = -(-side // 2) if stage else side
        found += [Map(side, width * 2**stage)] * ((depth - 2) // 3)
    return found


def padding_factor(side: int) -> float:
    """Return the share of the norm that zero padding leaves after a 3x3 convolution of a signal of even strength.

    In each direction each of n positions sums three of its neighbours, 3n in all, of which 3n - 2 are on the map; the mean
    square over the map keeps the square of (3n - 2) / 3n in two directions, so the norm keeps (3n - 2) / 3n.
    """
    return (3 * side - 2) / (3 * side)


def even_padding(layers: Mapping[int, int]) -> float:
    """Return the share of the norm left after so many layers on maps of each side, if the signal were even before each.

    8, 4 and 2 positions with 36 layers each leave 3e-11. The signal does not stay even, though: it fades at the rim, where the
    next padding takes its share. See `padding_left`.
    """
    return math.prod(padding_factor(side) ** count for side, count in layers.items())


def padding_left(sides: Sequence[int], *, backwards: bool = False) -> Vector:
    """Return the share of the norm that zero padding leaves at each of the maps of these sides, in forward order.

    Forwards the first map is even, and a share is of the root mean square; backwards the last map's gradient is even, as it is
    under global average pooling, and a share is of its norm.

    Exact for the mean square over zero-mean, independent weights: that of an output position is the mean of those of the nine
    input positions under the kernel, zero beyond the rim, and a gradient is spread the other way. Two directions are a product
    of one-dimensional shares, whose square root is the one-dimensional share. After many layers of side n a further one
    leaves the largest eigenvalue of that mean, (1 + 2 cos(pi / (n + 1))) / 3: 0.960 at 8, 0.873 at 4, 0.667 at 2, where
    `padding_factor` has 0.917, 0.833, 0.667.
    """
    steps = [_taps(*pair) for pair in pairwise(sides)]
    signal = np.full(sides[-1 if backwards else 0], 1.0)
    found = [1.0]
    for step in reversed(steps) if backwards else steps:
        signal = step.T @ signal if backwards else step @ signal
        found.append(float(signal.sum() / sides[-1] if backwards else signal.mean()))
    return np.array(found[::-1] if backwards else found)


def _taps(before: int, after: int) -> Vector:
    """Return the mean over three neighbours as a matrix [after, before], every second position where the side changes."""
    centres = np.arange(after)[:, None] * (1 if before == after else 2)
    near: Vector = (np.abs(centres - np.arange(before)) <= 1) / 3
    return near


INITS = ("he", "he_fan_in", "xavier", "torch")
"""Initial values whose variance is known here."""


def gain(init: str, channels_in: int, channels_out: int) -> float:
    """Return the factor of the norm at one 3x3 convolution and ReLU, padding apart, by the name of the initial values.

    Weights of variance v make of a signal with mean square m one of 9 channels_in v m; ReLU keeps half of what is symmetric
    about zero. The squared norm of a gradient, over all elements, is multiplied by the same 9 channels_in v / 2 on the way
    back. He et al. 2015b (arXiv:1502.01852), eq. 7 to 14; Glorot and Bengio 2010, eq. 16. Raises KeyError for another name.
    """
    variance = {
        "he": 2 / (9 * channels_out),
        "he_fan_in": 2 / (9 * channels_in),
        "xavier": 2 / (9 * (channels_in + channels_out)),
        "torch": 1 / (3 * 9 * channels_in),
    }
    return math.sqrt(9 * channels_in * variance[init] / 2)


def gradient_left(net: Sequence[Map], init: str) -> Vector:
    """Return ||dL/d output|| of each layer's ReLU over that of the last, in a plain net without normalisation.

    Root of the mean square over initial values: `gain` times `padding_left`, assuming as they do that the signs of
    activations do not depend on the gradients.
    """
    gains = [gain(init, one.channels, other.channels) for one, other in pairwise(net)]
    behind = np.cumprod([1.0, *gains[::-1]])[::-1]
    return behind * padding_left([one.side for one in net], backwards=True)


def signal_left(net: Sequence[Map], init: str) -> Vector:
    """Return the root mean square of each layer's ReLU over that of the first, in a plain net without norm or bias.

    As `gradient_left`. Not for init=torch, whose biases keep a signal up.
    """
    gains = [gain(init, one.channels, other.channels) for one, other in pairwise(net)]
    return np.cumprod([1.0, *gains]) * padding_left([one.side for one in net])


def reflected_walk(length: int) -> float:
    """Return the mean square of max(0, x + F), repeated `length` times from x = 0 with independent standard normal F.

    Spitzer 1956 (Transactions of the AMS 82): x is distributed as the largest of 0 and the partial sums S_k = F_1 + ... + F_k,
    and its mean square is

        length / 2 + sum over j + k <= length of 1 / (2 pi sqrt(j k)),

    from E[max(0, S_k)^2] = k / 2 and E[max(0, S_k)] = sqrt(k / 2 pi). 1/2 at 1; the sum tends to length / 2, so it is about
    `length` in the end.
    """
    roots = 1 / np.sqrt(np.arange(1, length))
    pairs = float(np.convolve(roots, roots)[: length - 1].sum()) if length > 1 else 0.0
    return length / 2 + pairs / (2 * math.pi)


def branch_over_input(order: str, depth: int, width: int, side: int, init: str) -> Vector:
    """Return the size of each block's residual branch over that of its input, block by block, at initialisation.

    For identity shortcuts (option A) and BN; size is the root mean square over batch, channels and positions, the branch is
    taken before the addition, the input before it is fitted to a new shape. In both orders it falls about as 1 / sqrt(l)
    at block l of a stage, in mean square as 1 / l. De and Smith 2020 (arXiv:2002.10444) say that BN makes the branch smaller
    than the skip path by a factor of the order of the square root of depth; what follows is a derivation of our own.

    preactivation: x_{l+1} = x_l + F_l(x_l), and F begins with BN and ends with a convolution. Its size does not depend on that of
    x, and the weights of its last convolution have mean zero whatever x is, so E[x F] = 0 and

        E[x_{l+1}^2] = E[x_l^2] + c,   c = E[F^2].

    This is exact, at any width and batch, for the mean over initial values: linear in l. c is what `gain` and `padding_factor`
    say of BN's output, of mean square 1 (its ReLU's being 1/2 is an assumption, exact if it is symmetric). E[x_1^2] = 1/2 is that
    of the stem's ReLU.

    original: x_{l+1} = max(0, x_l + F_l), and F ends with BN: E[F^2] = 1 exactly. The last convolution's weights are as likely to
    have the other sign, so F is as likely as -F whatever x is, and averaging over both

        E[x_{l+1}^2] = E[x_l^2] + 1 - E[max(0, |F_l| - x_l)^2] / 2.

    So the last ReLU takes away at most 1/2 and the growth per block lies between 1/2 and 1: linear between two bounds, exactly.
    With F normal and independent from block to block, a channel's value is a `reflected_walk`, which settles the rest: it begins
    in the stem, or with a new channel, which option A makes zero.

    Raises KeyError for another order.
    """
    blocks, maps = (depth - 2) // 6, plain_net(depth, width, side)
    squares = {"original": _original, "preactivation": _preactivation}[order](blocks, maps, init)
    return np.array([branch / x for branch, x in squares]) ** 0.5


def _original(blocks: int, maps: Sequence[Map], init: str) -> Iterator[tuple[float, float]]:
    """Yield the mean squares of branch and input of each block; `maps` and `init` make no difference."""
    walks = {length: reflected_walk(length) for length in range(1, 3 * blocks + 1)}
    begun = {-1: 1, blocks: 1, 2 * blocks: 2}  # by the block at which they begin, how many of a net's channels (in its widths)
    for block in range(3 * blocks):
        lengths = {block - start: share for start, share in begun.items() if start < block}
        yield 1.0, sum(share * walks[length] for length, share in lengths.items()) / sum(lengths.values())


def _preactivation(blocks: int, maps: Sequence[Map], init: str) -> Iterator[tuple[float, float]]:
    """Yield the same; a new shape leaves every other position, and the channels that it adds are zero."""
    square = 0.5
    for block in range(3 * blocks):
        x, here = maps[2 * block], maps[2 * block + 2]
        branch = (gain(init, here.channels, here.channels) * padding_factor(here.side)) ** 2
        yield branch, square
        square = square * x.channels / here.channels + branch
