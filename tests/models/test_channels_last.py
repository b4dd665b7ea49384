"""Subsampling and pooling of channels-last maps: bit-equal to plain indexing and mean, with channels-last gradients."""

import pytest
import torch

from harness.models.channels_last import global_average, subsample


def plain(x, stride):
    return x[:, :, ::stride, ::stride]


def average(x):
    return x.mean(dim=(2, 3))


def through(function, x):
    """Return a function's value at x, and the gradient of a weighted sum of it with respect to x."""
    x = x.detach().requires_grad_()
    y = function(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    (y * weights).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (lambda x: subsample(x, 2), lambda x: plain(x, 2)),
        (lambda x: subsample(x, 1), lambda x: plain(x, 1)),
        (global_average, average),
    ],
    ids=["every second", "every", "average"],
)
@pytest.mark.parametrize("side", [1, 7, 8])
def test_values_and_gradients_are_bit_equal_to_plain_operations_and_gradients_are_channels_last(ours, other, dtype, side):
    x = torch.randn(5, 12, side, side, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    y, gradient = through(ours, x)
    expected, expected_gradient = through(other, x)
    assert torch.equal(y, expected)
    assert torch.equal(gradient, expected_gradient)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_plain_operations_lose_the_layout():
    """If this test fails, PyTorch keeps the layout, and harness.models.channels_last can be removed."""
    x = torch.randn(5, 12, 8, 8).contiguous(memory_format=torch.channels_last)
    lost = [torch.autograd.functional.vjp(f, x, torch.ones_like(f(x)))[1] for f in (lambda x: plain(x, 2), average)]
    assert not any(gradient.is_contiguous(memory_format=torch.channels_last) for gradient in lost)
