"""Walks through a model's latents: what lies between its images, within a class and across classes."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dsray.models.draw import paint

Floats = NDArray[np.float64]


def walk(
    architecture: ModuleType,
    config: Any,
    weights: dict[str, Tensor],
    classes: int,
    seed: int,
    device: str,
    rows: int = 6,
    steps: int = 9,
) -> NDArray[np.uint8]:
    """uint8 [rows, steps, H, W, C]. The first half of the rows goes from one latent to another of the same class, the
    others draw the same numbers for one class after the other; with one class all rows are of the first sort.

    The ends of the first half are images that balanced sampling with this seed makes.
    """
    across = rows // 2 if classes > 1 else 0
    row_R = np.arange(rows - across)
    class_R = row_R % classes
    index_R = class_R + 2 * classes * (row_R // classes)
    start_RZ, end_RZ = (
        architecture.latents(config, weights, class_R, index_R + further, seed, 1.0) for further in (0, classes)
    )
    z_RSZ = PATHS[getattr(architecture, "PATH", "arc")](start_RZ, end_RZ, np.linspace(0, 1, steps))
    class_RS = np.repeat(class_R[:, None], steps, 1)
    for row in range(across):
        class_S = np.linspace(0, classes - 1, steps).round().astype(np.int64)
        z_SZ = architecture.latents(config, weights, class_S, np.full(steps, row * classes), seed, 1.0)
        z_RSZ, class_RS = np.concatenate([z_RSZ, z_SZ[None]]), np.concatenate([class_RS, class_S[None]])
    count = rows * steps
    z_NZ = z_RSZ.reshape(count, -1)
    net = architecture.painter(config, weights, device)
    images = paint(net, z_NZ, class_RS.ravel(), np.arange(count), device)
    return images.reshape(rows, steps, *images.shape[1:])


def line(start_RZ: Floats, end_RZ: Floats, share_S: Floats) -> Floats:
    """[R, S, Z] straight from start to end: for latents that were fitted, whose origin means nothing."""
    share_S1 = share_S[:, None]
    return np.asarray((1 - share_S1) * start_RZ[:, None] + share_S1 * end_RZ[:, None])


def arc(start_RZ: Floats, end_RZ: Floats, share_S: Floats) -> Floats:
    """[R, S, Z] along the great circle (White, arXiv:1609.04468): normal latents lie near a sphere, and a line between
    two leaves it. The length goes evenly from the one's to the other's."""
    start_R1, end_R1 = (np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in (start_RZ, end_RZ))
    cosine_R = ((start_RZ / start_R1) * (end_RZ / end_R1)).sum(1)
    angle_R11 = np.maximum(np.arccos(np.clip(cosine_R, -1, 1)), 1e-6)[:, None, None]
    share_S1 = share_S[:, None]
    from_RS1, to_RS1 = (np.sin(part * angle_R11) / np.sin(angle_R11) for part in (1 - share_S1, share_S1))
    direction_RSZ = from_RS1 * (start_RZ / start_R1)[:, None] + to_RS1 * (end_RZ / end_R1)[:, None]
    return np.asarray(direction_RSZ * line(start_R1, end_R1, share_S))


PATHS = {"arc": arc, "line": line}
"""What an architecture's PATH names; one that has none draws normal latents."""
