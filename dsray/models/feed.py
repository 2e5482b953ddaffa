"""What a step trains on: a function of (seed, step, place in the batch). Resumed or resized runs see the same."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsray import rng

Places = NDArray[np.int64]


class Feed:
    """The training rows on their device, in a keyed order that is new in each epoch."""

    def __init__(self, images_NHWC: NDArray[np.uint8], labels_N: Places, batch: int, seed: int, device: str) -> None:
        self.images_NCHW = torch.from_numpy(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2))).to(device)
        self.labels_N = torch.from_numpy(np.asarray(labels_N, np.int64)).to(device)
        self.batch, self.seed, self.device = batch, seed, device
        self._orders: dict[int, Places] = {}

    def places(self, step: int, rank: int, world: int) -> Places:
        """The positions in the endless stream of rows that one rank takes of one global batch."""
        mine = np.arange(rank * self.batch // world, (rank + 1) * self.batch // world)
        return step * self.batch + mine

    def rows(self, places_B: Places) -> tuple[Tensor, Tensor]:
        """Real images in [-1, 1] [B, C, H, W] and their classes [B]."""
        count = len(self.labels_N)
        row_B = np.empty_like(places_B)
        for epoch in np.unique(places_B // count):
            here_B = places_B // count == epoch
            row_B[here_B] = self._order(int(epoch))[places_B[here_B] % count]
        index_B = torch.from_numpy(row_B).to(self.device)
        return to_float(self.images_NCHW[index_B]), self.labels_N[index_B]

    def noise(self, places_B: Places, draws: int) -> Tensor:
        """Standard normal [B, draws]."""
        return noise(self.seed, "train noise", places_B, draws, self.device)

    def _order(self, epoch: int) -> Places:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = rng.permutation(self.seed, "train order", len(self.labels_N), epoch)
        return self._orders[epoch]


def noise(seed: int, name: str, indices_B: Places, draws: int, device: str) -> Tensor:
    """Standard normal [B, draws], keyed by seed, name and index."""
    return torch.from_numpy(rng.normal(seed, name, indices_B.astype(np.uint64), draws=draws).astype(np.float32)).to(
        device
    )


def to_float(images: Tensor) -> Tensor:
    """uint8 → [-1, 1]."""
    return images.float() / 127.5 - 1.0
