"""Latents → images: a row's bytes depend on its own latent and class, never on the rows it is sampled with."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dsray import rng

Places = NDArray[np.int64]

INNER = 64
"""Rows are sampled this many at a time, always; row `index` sits at place `index % INNER`."""


def sample(
    architecture: ModuleType,
    config: Any,
    weights: dict[str, Tensor],
    labels_N: Places,
    indices_N: Places,
    seed: int,
    device: str,
    truncation: float = 1.0,
) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C]. A row is a function of (weights, seed, index, label), whatever is sampled with it.

    `truncation` below 1 keeps latents nearer to what is usual: more of the same, and better (arXiv:1809.11096).
    """
    z_NZ = architecture.latents(config, weights, labels_N, indices_N, seed, truncation)
    return paint(architecture.painter(config, weights, device), z_NZ, labels_N, indices_N, device)


@torch.no_grad()
def paint(
    net: nn.Module, z_NZ: NDArray[np.float64], labels_N: Places, indices_N: Places, device: str
) -> NDArray[np.uint8]:
    """What `net` makes of latents [N, Z] and classes [N] → uint8 [N, H, W, C]."""
    found: list[NDArray[np.uint8]] = []
    groups = inner_batches(indices_N)
    for rows, slots in groups:
        z = np.zeros((INNER, z_NZ.shape[1]), np.float32)
        class_B = np.zeros(INNER, np.int64)
        z[slots], class_B[slots] = z_NZ[rows], labels_N[rows]
        images = net(torch.from_numpy(z).to(device), torch.from_numpy(class_B).to(device))
        found.append(to_uint8(images)[slots])
    order_N = np.concatenate([rows for rows, _ in groups]).argsort()
    return np.concatenate(found)[order_N]


def inner_batches(indices_N: Places) -> list[tuple[Places, Places]]:
    """Groups of rows that are sampled together: (their places in the request, their places in the inner batch)."""
    order_N = np.argsort(indices_N, kind="stable")
    sorted_N = indices_N[order_N]
    repeat_N = np.arange(len(sorted_N)) - np.searchsorted(sorted_N, sorted_N)  # an index asked for twice
    groups: dict[tuple[int, int], list[int]] = {}
    for row, index, repeat in zip(order_N, sorted_N, repeat_N, strict=True):
        groups.setdefault((int(index) // INNER, int(repeat)), []).append(int(row))
    return [(np.array(rows), indices_N[rows] % INNER) for rows in groups.values()]


def to_uint8(images_NCHW: Tensor) -> NDArray[np.uint8]:
    """[-1, 1], clipped → uint8 [N, H, W, C]."""
    whole = ((images_NCHW + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def loaded(net: nn.Module, weights: dict[str, Tensor], device: str) -> nn.Module:
    """`net` with the weights that are its own, ready to sample."""
    net.load_state_dict({name: weights[name] for name in net.state_dict()})
    return net.to(device).eval()


def normal(name: str) -> Callable[..., NDArray[np.float64]]:
    """`latents` of an architecture that draws them from N(0, 1), under a name of its own."""

    def latents(
        config: Any, weights: dict[str, Tensor], labels_N: Places, indices_N: Places, seed: int, truncation: float = 1.0
    ) -> NDArray[np.float64]:
        """[N, Z] standard normal, keyed by seed and index, times `truncation`."""
        return truncation * rng.normal(seed, name, indices_N.astype(np.uint64), draws=config.latent)

    return latents
