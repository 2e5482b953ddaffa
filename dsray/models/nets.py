"""The two halves that every image model here is made of: Reader (image → vector) and Painter (vector → image).

Residual, without normalisation, started so that every block is the identity (Fixup, arXiv:1901.09321; R3GAN,
arXiv:2501.05441). The side is halved (rounding up) until it is at most 8; the width doubles as the side halves.
"""

from itertools import pairwise
from threading import Lock
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsray.models import slopes
from dsray.models.slopes import PLAIN, Pass

Net = TypeVar("Net", bound=nn.Module)

_ONE = Lock()  # torch has one generator for all threads

SMALLEST = 8
SLOPE = slopes.SLOPE
GAIN = 2**0.5 / (1 + SLOPE**2) ** 0.5


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The resolutions below the image's, largest first: (28, 28) → [(14, 14), (7, 7)]."""
    found = [(-(-height // 2), -(-width // 2))]
    while max(found[-1]) > SMALLEST:
        h, w = found[-1]
        found.append((-(-h // 2), -(-w // 2)))
    return found


def widths(width: int, levels: int) -> list[int]:
    """Channels of each resolution, largest first."""
    return [max(8, width >> (levels - 1 - level)) for level in range(levels)]


def conv(inputs: int, outputs: int, side: int = 3, gain: float = GAIN) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    nn.init.normal_(layer.weight, std=gain / (inputs * side * side) ** 0.5)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is one
    return layer


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=gain / inputs**0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """x + conv(lrelu(conv(lrelu(x)))); the second convolution starts at 0, the first is scaled by depth^-1/2."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.first = conv(channels, channels, gain=GAIN * depth**-0.5)
        self.second = conv(channels, channels, gain=0.0)

    def forward(self, x: Tensor, how: Pass = PLAIN) -> Tensor:
        hidden = how.bend(how.linear(self.first, how.bend(x)))
        return x + how.linear(self.second, hidden)


class Level(nn.Sequential):
    """The blocks of one resolution."""

    def forward(self, x: Tensor, how: Pass = PLAIN) -> Tensor:
        for block in self:
            x = block(x, how)
        return x


class Reader(nn.Module):
    """[B, C, H, W] → [B, outputs]."""

    def __init__(self, shape: tuple[int, int, int], width: int, blocks: int, outputs: int) -> None:
        super().__init__()
        height, wide, channels = shape
        self.sizes = sizes(height, wide)
        wide_L = widths(width, len(self.sizes))
        depth = blocks * len(wide_L)
        self.pad = (0, wide % 2, 0, height % 2)
        self.enter = conv(4 * channels, wide_L[0], gain=1.0)
        self.levels = nn.ModuleList(Level(*(Block(w, depth) for _ in range(blocks))) for w in wide_L)
        self.narrow = nn.ModuleList(conv(a, b, 1, gain=1.0) for a, b in pairwise(wide_L))
        self.leave = linear(wide_L[-1] * self.sizes[-1][0] * self.sizes[-1][1], outputs, gain=GAIN)

    def forward(self, x: Tensor, how: Pass = PLAIN) -> Tensor:
        x = F.pad(x, self.pad, mode="replicate") if any(self.pad) else x
        x = how.linear(self.enter, channels_last(F.pixel_unshuffle(x, 2)))
        for level, blocks in enumerate(self.levels):
            if level:
                x = how.linear(self.narrow[level - 1], F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False))
            x = blocks(x, how)
        return how.linear(self.leave, how.bend(x).flatten(1))


class Painter(nn.Module):
    """[B, inputs] → [B, C, H, W], about [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], width: int, blocks: int, inputs: int) -> None:
        super().__init__()
        self.shape = shape
        self.sizes = sizes(shape[0], shape[1])[::-1]
        wide_L = widths(width, len(self.sizes))[::-1]
        depth = blocks * len(wide_L)
        self.wide = wide_L[0]
        self.enter = linear(inputs, self.wide * self.sizes[0][0] * self.sizes[0][1])
        self.levels = nn.ModuleList(Level(*(Block(w, depth) for _ in range(blocks))) for w in wide_L)
        self.narrow = nn.ModuleList(conv(a, b, 1, gain=1.0) for a, b in pairwise(wide_L))
        self.leave = conv(wide_L[-1], 4 * shape[2], gain=1.0)

    def forward(self, z: Tensor) -> Tensor:
        x = channels_last(self.enter(z).view(len(z), self.wide, *self.sizes[0]))
        for level, blocks in enumerate(self.levels):
            if level:
                h, w = self.sizes[level]
                x = F.interpolate(self.narrow[level - 1](x), scale_factor=2.0, mode="bilinear")[:, :, :h, :w]
            x = blocks(x)
        x = F.pixel_shuffle(self.leave(F.leaky_relu(x, SLOPE)), 2)
        return leaky_clamp(x[:, :, : self.shape[0], : self.shape[1]])


def channels_last(x_BCHW: Tensor) -> Tensor:
    """The same numbers, a pixel's channels side by side in memory: convolutions are a fifth faster on AVX2."""
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def leaky_clamp(x: Tensor) -> Tensor:
    """[-1, 1] as it is, a tenth of the slope beyond: flat black and white are easy, and no gradient vanishes."""
    inside = x.clamp(-1.0, 1.0)
    return inside + 0.1 * (x - inside)


def seeded(seed: int, build: type[Net], *args: object) -> Net:
    """Builds a network from a seed, whatever was drawn before."""
    with _ONE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*args)
