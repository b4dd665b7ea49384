"""The workaround for oneDNN's backward pass of strided 1x1 convolutions with few channels: no crash, otherwise bit-equal.

Each case runs in a child process, since the test looks for a corrupted heap. `AVX2` makes torch and oneDNN use the kernels of
a processor without AVX-512; on such a processor it changes nothing.
"""

import os
import subprocess
import sys

import pytest

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
CHECKED = {"MALLOC_CHECK_": "3", "LD_PRELOAD": "libc_malloc_debug.so.0", "OMP_WAIT_POLICY": "passive"}
"""Make glibc (checks in that library since 2.34) abort a process that frees corrupted memory, and make idle threads sleep."""

MANY = """
import sys, torch
from harness.models.convolutions import convolution
torch.set_num_threads(int(sys.argv[1]))
for channels in (1, 2, 4, 7, 8, 15, 16):
    for size in (8, 28, 56):
        layer = convolution(channels, 8, 1, 2, "batch").to(memory_format=torch.channels_last)
        for batch, repetitions in ((3, 3), (32, 3 if size > 8 else 50)):  # a corrupted heap can go unnoticed for long
            for _ in range(repetitions):
                images = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last).requires_grad_()
                layer(images).square().sum().backward()
"""

NETS = """
import torch
from harness.config.run import RunConfig
from harness.models.build import build
for keys in ({"shortcut": "projection"}, {"shortcut": "projection_all"}, {"shortcut": "exclusive_gate"},
             {"shortcut": "shortcut_only_gate"}, {"depth": 11, "block": "bottleneck", "width": 1}):
    net = build(RunConfig(**({"depth": 8, "width": 4} | keys)), 3, 10)
    for _ in range(2):
        net(torch.randn(32, 3, 32, 32).to(memory_format=torch.channels_last)).square().sum().backward()
"""

SAME = """
import itertools, torch
from harness.models.convolutions import convolution
torch.set_num_threads(1)
for channels, batch, norm in itertools.product((8, 12, 15), (1, 7, 16, 32), ("batch", "none")):
    ours = convolution(channels, 6, 1, 2, norm).to(memory_format=torch.channels_last)
    theirs = torch.nn.Conv2d(channels, 6, 1, stride=2, bias=norm == "none").to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(batch, channels, 8, 8).to(memory_format=torch.channels_last)
    results = []
    for layer in (ours, theirs):
        given = images.clone(memory_format=torch.preserve_format).requires_grad_()
        output = layer(given)
        assert output.is_contiguous(memory_format=torch.channels_last)
        output.square().sum().backward()
        results.append([output, given.grad, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(result, other) for result, other in zip(*results)), (channels, batch, norm)
"""


def child(code, environment, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"


@pytest.mark.parametrize("processor", [{}, AVX2], ids=["own", "avx2"])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_heap_is_intact_after_the_backward_pass(processor, threads):
    child(MANY, processor | CHECKED, threads)


@pytest.mark.parametrize("processor", [{}, AVX2], ids=["own", "avx2"])
def test_narrow_nets_with_projections_gates_and_bottlenecks_train(processor):
    child(NETS, processor | CHECKED)


@pytest.mark.parametrize("processor", [{}, AVX2], ids=["own", "avx2"])
def test_values_and_gradients_are_bit_equal_to_those_of_torch(processor):
    child(SAME, processor)
