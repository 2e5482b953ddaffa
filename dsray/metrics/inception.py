"""InceptionV3 as FID knows it: the network of 2015-12-05 up to its 2,048 pooled features (Szegedy et al. 2015).

It differs from torchvision's: batch normalisation has no scale, averages leave the padding out, and the last block
pools by maximum. Normalisation is folded into the convolutions.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray.metrics.resize import CLEAN, Images, resize

EXTRACTOR = "InceptionV3 2015-12-05, pool 2048"

EPSILON = 1e-3  # of the batch normalisation

Folded = Sequence[tuple[Tensor, Tensor]]
"""(weight [O, I, H, W], bias [O]) of each of the 94 convolutions, in the order of the network."""


class Fork(nn.Module):
    """[B, C, H, W] → the branches' channels side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def network() -> nn.Sequential:
    """[B, 3, 299, 299] in [-1, 1] → features [B, 2048]; weights are still to be loaded."""
    return nn.Sequential(
        _conv(3, 32, 3, stride=2, pad=False),
        _conv(32, 32, 3, pad=False),
        _conv(32, 64, 3),
        nn.MaxPool2d(3, 2),
        _conv(64, 80, 1),
        _conv(80, 192, 3, pad=False),
        nn.MaxPool2d(3, 2),
        *(_block_35(*channels) for channels in ((192, 32), (256, 64), (288, 64))),
        Fork(
            _conv(288, 384, 3, stride=2, pad=False),
            nn.Sequential(_conv(288, 64, 1), _conv(64, 96, 3), _conv(96, 96, 3, stride=2, pad=False)),
            nn.MaxPool2d(3, 2),
        ),
        *(_block_17(inner) for inner in (128, 160, 160, 192)),
        Fork(
            nn.Sequential(_conv(768, 192, 1), _conv(192, 320, 3, stride=2, pad=False)),
            nn.Sequential(
                _conv(768, 192, 1),
                _conv(192, 192, (1, 7)),
                _conv(192, 192, (7, 1)),
                _conv(192, 192, 3, stride=2, pad=False),
            ),
            nn.MaxPool2d(3, 2),
        ),
        _block_8(1280, _average()),
        _block_8(2048, nn.MaxPool2d(3, 1, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def loaded(folded: Folded) -> nn.Sequential:
    """The network with these weights, ready to infer."""
    net = network()
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, folded, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)  # type: ignore[union-attr]  # all have one
    return net.eval().requires_grad_(False)


@torch.no_grad()
def features(
    net: nn.Module, images_NHWC: Images, resizer: str = CLEAN, device: str = "cpu", batch: int = 32
) -> NDArray[np.float32]:
    """uint8 [N, H, W, 1 or 3] → [N, 2048]. About 10 images a second on two cores."""
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast
    found = [np.empty((0, 2048), np.float32)]
    for start in range(0, len(images_NHWC), batch):
        pixels = resize(images_NHWC[start : start + batch], resizer)
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(device)  # channels last already
        found.append(net((x - 128) / 128).cpu().numpy())
    return np.concatenate(found)


def _conv(channels: int, made: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True) -> nn.Sequential:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2) if pad else (0, 0)
    return nn.Sequential(nn.Conv2d(channels, made, (height, width), stride, padding), nn.ReLU(inplace=True))


def _convs(channels: Sequence[int], kernels: Sequence[int | tuple[int, int]]) -> nn.Sequential:
    steps = zip(itertools.pairwise(channels), kernels, strict=True)
    return nn.Sequential(*(_conv(before, after, kernel) for (before, after), kernel in steps))


def _average() -> nn.AvgPool2d:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def _block_35(channels: int, pooled: int) -> Fork:
    """At 35 × 35: 1×1, 5×5, two 3×3, pool."""
    return Fork(
        _conv(channels, 64, 1),
        _convs((channels, 48, 64), (1, 5)),
        _convs((channels, 64, 96, 96), (1, 3, 3)),
        nn.Sequential(_average(), _conv(channels, pooled, 1)),
    )


def _block_17(inner: int) -> Fork:
    """At 17 × 17: 7×7 in factors."""
    across, down = (1, 7), (7, 1)
    return Fork(
        _conv(768, 192, 1),
        _convs((768, inner, inner, 192), (1, across, down)),
        _convs((768, inner, inner, inner, inner, 192), (1, down, across, down, across)),
        nn.Sequential(_average(), _conv(768, 192, 1)),
    )


def _block_8(channels: int, pool: nn.Module) -> Fork:
    """At 8 × 8: 3×3 in factors side by side."""

    def both() -> Fork:
        return Fork(_conv(384, 384, (1, 3)), _conv(384, 384, (3, 1)))

    return Fork(
        _conv(channels, 320, 1),
        nn.Sequential(_conv(channels, 384, 1), both()),
        nn.Sequential(_conv(channels, 448, 1), _conv(448, 384, 3), both()),
        nn.Sequential(pool, _conv(channels, 192, 1)),
    )
