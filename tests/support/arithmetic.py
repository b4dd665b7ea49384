"""Parameters and multiply-adds of the papers' nets, computed from their tables to check the models independently.

A convolution with kernel k from a to b channels has k*k*a*b weights and as many multiply-adds per output position; batch
normalisation has two parameters per channel; the linear layer has a bias. All nets here use batch normalisation.
"""

import math


class Count:
    def __init__(self):
        self.parameters = self.multiply_adds = self.layers = 0

    def conv(self, kernel, into, out, side, counted=True, bias=False):
        self.parameters += kernel * kernel * into * out + (out if bias else 0)
        self.multiply_adds += kernel * kernel * into * out * side * side
        self.layers += counted

    def norm(self, channels):
        self.parameters += 2 * channels

    def linear(self, into, out):
        self.parameters += into * out + out
        self.multiply_adds += into * out
        self.layers += 1


def residual(stages, width, bottleneck, shortcut, side, classes, large, full_preactivation=False, channels=3):
    """Return the count of He et al. 2015, section 4.2, or with `large` of Table 1; a bottleneck's first 1x1 has the stride."""
    count = Count()
    if large:
        side = math.ceil(side / 2)
        count.conv(7, channels, width, side)
        side = math.ceil(side / 2)
    else:
        count.conv(3, channels, width, side)
    count.norm(width)
    into = width
    for number, blocks in enumerate(stages):
        inner = width * 2**number
        out = inner * (4 if bottleneck else 1)
        for block in range(blocks):
            if number and not block:
                side = math.ceil(side / 2)
            kernels = [(1, into, inner), (3, inner, inner), (1, inner, out)] if bottleneck else [(3, into, out), (3, out, out)]
            for kernel, a, b in kernels:
                count.conv(kernel, a, b, side)
                count.norm(b)
            changes = into != out
            if shortcut == "projection_all" or (shortcut == "projection" and changes):
                count.conv(1, into, out, side, counted=False)
                if not full_preactivation:
                    count.norm(out)
            if "gate" in shortcut:
                count.conv(1, into, out, side, counted=False, bias=True)
            into = out
    if full_preactivation:
        # Norms before every block but the first and after the last block, instead of after each block's last convolution.
        outs = [width * 2**n * (4 if bottleneck else 1) for n, blocks in enumerate(stages) for _ in range(blocks)]
        count.parameters += 2 * (sum(outs[:-1]) + outs[-1]) - 2 * sum(outs)
    count.linear(into, classes)
    return count


def densenet_bc(depth, growth, side, classes, channels=3):
    """Return the count of Huang et al. 2017, section 3: bottlenecks of 4 * growth channels, compression 0.5, three stages."""
    count, width = Count(), 2 * growth
    count.conv(3, channels, width, side)
    for stage in range(3):
        for _ in range((depth - 4) // 6):
            count.norm(width)
            count.conv(1, width, 4 * growth, side)
            count.norm(4 * growth)
            count.conv(3, 4 * growth, growth, side)
            width += growth
        count.norm(width)
        if stage < 2:
            count.conv(1, width, width // 2, side)
            width //= 2
            side //= 2
    count.linear(width, classes)
    return count
