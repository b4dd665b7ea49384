"""Predictions of theory for a net at initialisation, for comparison with measurements. Nothing is fitted.

They are means over the initial values of a net of the CIFAR family (He et al. 2015, section 4.2: 3x3 convolutions, zero padding,
ReLU, gamma 1, beta 0). A single net of few channels mostly lies below them, since the mean logarithm of a product of random
factors is below the logarithm of its mean.
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
"""Factor per layer towards the input of ||dL/d activations||^2 in a plain net of convolution, BN, ReLU: 1.467.

Yang et al. 2019 (arXiv:1902.08129), Theorem 8. Derivation for infinite width and batch: let z be the output of BN, standard
normal and uncorrelated between samples. Its ReLU has second moment 1/2 and mean 1/sqrt(2 pi), so its variance is
(pi - 1) / (2 pi). The next convolution, with weights of variance v and k inputs, has variance v k (pi - 1) / (2 pi) about the
batch mean, by which BN divides. In the backward pass BN multiplies the mean square gradient by the inverse of that, the
convolution by v k (summed over all elements, so regardless of stride and number of channels), and ReLU by 1/2: v and k cancel,
leaving pi / (pi - 1). It would be 1 if BN did not subtract the mean that ReLU creates.

For images, positions within an image are correlated, BN averages over them too, and padding and finite width have an effect:
the line is drawn, not tested.

||dL/dW|| grows by the same factor within a stage. If gradients do not depend on activations, and sum to zero over the batch as
those behind a BN do, its mean square is that of dL/d(convolution's output) times k (pi - 1) / (2 pi), and k changes only between
stages.
"""
GRADIENT_FACTOR = math.sqrt(SQUARED_GRADIENT_FACTOR)
"""Factor per layer towards the input of the norm: 1.211."""
SMALLEST: Mapping[str, float] = {"fp32": 1.4e-45, "bf16": 1.2e-38}
"""The smallest positive element of a gradient by precision: float32's smallest subnormal number; for bfloat16 its smallest normal
one, since convolutions on a CPU were observed to flush subnormal bfloat16 numbers to zero
(results/findings/2026-11-24-vanishing-cifar10-no-norm); whether those on a GPU do is unknown."""


class Net(NamedTuple):
    """The keys of a run on which theory depends; each field is the key of that name."""

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
        """Whether the net has the family and blocks that this module covers."""
        return self.family == "cifar" and self.block == "basic"


class Map(NamedTuple):
    """The output of a convolution: `channels` square maps of `side` x `side` positions."""

    side: int
    channels: int


def plain_net(depth: int, width: int, side: int) -> list[Map]:
    """Return the outputs of the stem and of each 3x3 convolution of a net of 6n+2 layers on images with this side in pixels."""
    maps = [Map(side, width)]
    for stage in range(3):
        side = -(-side // 2) if stage else side
        maps += [Map(side, width * 2**stage)] * ((depth - 2) // 3)
    return maps


def padding_factor(side: int) -> float:
    """Return the fraction of the norm that remains after a zero-padded 3x3 convolution of a uniform signal.

    In each direction each of n positions sums three neighbours, 3n in all, of which 3n - 2 are on the map. The mean square over
    the map keeps the square of (3n - 2) / 3n in two directions, so the norm keeps (3n - 2) / 3n. After several layers the signal
    is no longer uniform: it fades at the border, where padding acts (`padding_left`).
    """
    return (3 * side - 2) / (3 * side)


def padding_left(sides: Sequence[int], *, backwards: bool = False) -> Vector:
    """Return the fraction of the norm that zero padding leaves at each map, given their sides in forward order.

    Forwards, the first map is uniform and the result is a fraction of the root mean square. Backwards, the gradient of the last
    map is uniform, as under global average pooling, and the result is a fraction of its norm.

    Exact for the mean square over zero-mean, independent weights: the mean square at an output position is the mean of those of
    the nine input positions under the kernel, zero beyond the border; a gradient spreads the other way. Two directions are a
    product of one-dimensional fractions, whose square root is the one-dimensional fraction. After many layers of side n another
    one leaves the largest eigenvalue of that mean, (1 + 2 cos(pi / (n + 1))) / 3: 0.960 at 8, 0.873 at 4, 0.667 at 2, where
    `padding_factor` has 0.917, 0.833, 0.667.
    """
    layers = [_mean_of_neighbours(before, after) for before, after in pairwise(sides)]
    signal = np.full(sides[-1 if backwards else 0], 1.0)
    left = [1.0]
    for layer in reversed(layers) if backwards else layers:
        signal = layer.T @ signal if backwards else layer @ signal
        left.append(float(signal.sum() / sides[-1] if backwards else signal.mean()))
    return np.array(left[::-1] if backwards else left)


def _mean_of_neighbours(before: int, after: int) -> Vector:
    """Return the mean over three neighbours as a matrix [after, before], with stride 2 if the side changes."""
    centres = np.arange(after)[:, None] * (1 if before == after else 2)
    matrix: Vector = (np.abs(centres - np.arange(before)) <= 1) / 3
    return matrix


INITS = ("he", "he_fan_in", "xavier", "torch")
"""The initial values whose variance `gain` knows."""


def gain(init: str, channels_in: int, channels_out: int) -> float:
    """Return the factor of the norm over one 3x3 convolution and ReLU without padding, for initial values `init`.

    Weights of variance v turn a signal with mean square m into one with 9 channels_in v m; ReLU keeps half of a distribution
    symmetric about zero. The squared norm of a gradient over all elements is multiplied by the same 9 channels_in v / 2 in the
    backward pass. He et al. 2015b (arXiv:1502.01852), eq. 7 to 14; Glorot and Bengio 2010, eq. 16. Raises KeyError if unknown.
    """
    variance = {
        "he": 2 / (9 * channels_out),
        "he_fan_in": 2 / (9 * channels_in),
        "xavier": 2 / (9 * (channels_in + channels_out)),
        "torch": 1 / (3 * 9 * channels_in),
    }
    return math.sqrt(9 * channels_in * variance[init] / 2)


def gradient_left(net: Sequence[Map], init: str) -> Vector:
    """Return ||dL/d output|| of each layer's ReLU relative to that of the last, in a plain net without normalisation.

    Root mean square over initial values: `gain` times `padding_left`, which assume that the signs of activations do not depend on
    the gradients.
    """
    return np.cumprod([1.0, *_gains(net, init)[::-1]])[::-1] * padding_left([layer.side for layer in net], backwards=True)


def signal_left(net: Sequence[Map], init: str) -> Vector:
    """Return the root mean square of each layer's ReLU relative to that of the first, in a plain net without norm or bias.

    Like `gradient_left`. Not for init=torch, whose biases sustain the signal.
    """
    return np.cumprod([1.0, *_gains(net, init)]) * padding_left([layer.side for layer in net])


def _gains(net: Sequence[Map], init: str) -> list[float]:
    return [gain(init, before.channels, after.channels) for before, after in pairwise(net)]


def reflected_walk(length: int) -> float:
    """Return the mean square of max(0, x + F), repeated `length` times from x = 0 with independent standard normal F.

    Spitzer 1956 (Transactions of the AMS 82): x is distributed as the largest of 0 and the partial sums S_k = F_1 + ... + F_k,
    and its mean square is

        length / 2 + sum over j + k <= length of 1 / (2 pi sqrt(j k)),

    from E[max(0, S_k)^2] = k / 2 and E[max(0, S_k)] = sqrt(k / 2 pi). It is 1/2 at length 1; the sum tends to length / 2, so it
    tends to `length`.
    """
    roots = 1 / np.sqrt(np.arange(1, length))
    pairs = float(np.convolve(roots, roots)[: length - 1].sum()) if length > 1 else 0.0
    return length / 2 + pairs / (2 * math.pi)


def branch_over_input(order: str, depth: int, width: int, side: int, init: str) -> Vector:
    """Return the size of each block's residual branch relative to its input, block by block, at initialisation.

    For identity shortcuts (option A) and BN. Size is the root mean square over batch, channels and positions: of the branch
    before the addition, of the input before it is matched to a new shape. In both orders the ratio falls about as 1 / sqrt(l) at
    block l of a stage. De and Smith 2020 (arXiv:2002.10444) state that BN makes the branch smaller than the skip path by a factor
    of the order of the square root of depth; the following derivation is ours.

    preactivation: x_{l+1} = x_l + F_l(x_l), where F begins with BN and ends with a convolution. Its size does not depend on that
    of x, and the weights of its last convolution have mean zero for any x, so E[x F] = 0 and

        E[x_{l+1}^2] = E[x_l^2] + c,   c = E[F^2].

    This is exact, at any width and batch, for the mean over initial values: linear in l. c follows from `gain` and
    `padding_factor` for BN's output, whose mean square is 1 (that of its ReLU is assumed to be 1/2, exact if it is symmetric).
    E[x_1^2] = 1/2 is that of the stem's ReLU.

    original: x_{l+1} = max(0, x_l + F_l), where F ends with BN: E[F^2] = 1 exactly. The weights of the last convolution are
    equally likely to have the opposite sign, so F is as likely as -F for any x, and averaging over both

        E[x_{l+1}^2] = E[x_l^2] + 1 - E[max(0, |F_l| - x_l)^2] / 2.

    So the last ReLU removes at most 1/2, and the growth per block is between 1/2 and 1: linear between two bounds, exactly. If F
    is normal and independent between blocks, a channel's value is a `reflected_walk`, which gives the rest: it begins in the
    stem, or with a new channel, which option A sets to zero.

    Raises KeyError for another order.
    """
    blocks, maps = (depth - 2) // 6, plain_net(depth, width, side)  # blocks per stage
    squares = {"original": _original(blocks), "preactivation": _preactivation(blocks, maps, init)}[order]
    return np.array([branch / x for branch, x in squares]) ** 0.5


def _original(blocks: int) -> Iterator[tuple[float, float]]:
    """Yield the mean squares of branch and input of each block."""
    walks = {length: reflected_walk(length) for length in range(1, 3 * blocks + 1)}
    channels = {-1: 1, blocks: 1, 2 * blocks: 2}  # by the block in which they begin, in multiples of the net's width
    for block in range(3 * blocks):
        lengths = {block - start: count for start, count in channels.items() if start < block}
        yield 1.0, sum(count * walks[length] for length, count in lengths.items()) / sum(lengths.values())


def _preactivation(blocks: int, maps: Sequence[Map], init: str) -> Iterator[tuple[float, float]]:
    """Yield the mean squares of branch and input; a new shape keeps every other position, and the channels it adds are zero."""
    square = 0.5
    for block in range(3 * blocks):
        before, after = maps[2 * block], maps[2 * block + 2]
        branch = (gain(init, after.channels, after.channels) * padding_factor(after.side)) ** 2
        yield branch, square
        square = square * before.channels / after.channels + branch
