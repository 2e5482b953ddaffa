"""What a step trains on: a function of (seed, step, place in the batch). Resumed or resized runs see the same."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dsray import rng

Places = NDArray[np.int64]
Training = TypeVar("Training")


class Feed:
    """The training rows in a keyed order that is new in each epoch: on their device, or read from a memory map, those
    of the next step while this one is computed."""

    def __init__(self, images_NHWC: NDArray[np.uint8], labels_N: Places, batch: int, seed: int, device: str) -> None:
        self.images_NCHW: Tensor | Mapped = (
            Mapped(images_NHWC, device)
            if isinstance(images_NHWC, np.memmap)
            else torch.from_numpy(np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2))).to(device)
        )
        self.labels_N = torch.from_numpy(np.asarray(labels_N, np.int64)).to(device)
        self.batch, self.seed, self.device = batch, seed, device
        self.attempt = 0  # a training that broke tries again with other noise
        self._orders: dict[int, Places] = {}

    def places(self, step: int, rank: int, world: int) -> Places:
        """The positions in the endless stream of rows that one rank takes of one global batch."""
        mine = np.arange(rank * self.batch // world, (rank + 1) * self.batch // world)
        return step * self.batch + mine

    def rows(self, places_B: Places) -> tuple[Tensor, Tensor]:
        """Real images in [-1, 1] [B, C, H, W] and their classes [B]."""
        index_B = torch.from_numpy(self._rows(places_B)).to(self.device)
        images = self.images_NCHW[index_B]
        if isinstance(self.images_NCHW, Mapped):
            self.images_NCHW.expect(self._rows(places_B + self.batch))
        return to_float(images), self.labels_N[index_B]

    def noise(self, places_B: Places, draws: int, device: str = "") -> Tensor:
        """Standard normal [B, draws], on the feed's device or another."""
        name = f"train noise {self.attempt}" if self.attempt else "train noise"
        return noise(self.seed, name, places_B, draws, device or self.device)

    def _rows(self, places_B: Places) -> Places:
        count = len(self.labels_N)
        row_B = np.empty_like(places_B)
        for epoch in np.unique(places_B // count):
            here_B = places_B // count == epoch
            row_B[here_B] = self._order(int(epoch))[places_B[here_B] % count]
        return row_B

    def _order(self, epoch: int) -> Places:
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = rng.permutation(self.seed, "train order", len(self.labels_N), epoch)
        return self._orders[epoch]


class Mapped:
    """uint8 images [N, C, H, W] on a disk, which index as a tensor does; what is expected is read ahead in a thread."""

    def __init__(self, images_NHWC: NDArray[np.uint8], device: str) -> None:
        self.images_NHWC, self.device = images_NHWC, device
        count, height, width, channels = images_NHWC.shape
        self.shape = torch.Size((count, channels, height, width))
        self._ahead = ThreadPoolExecutor(1, "feed")
        self._expected: tuple[Places, Future[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __getitem__(self, index: Tensor | Places | slice) -> Tensor:
        asked = index.cpu().numpy() if isinstance(index, Tensor) else index
        if self._expected and not isinstance(asked, slice) and np.array_equal(self._expected[0], asked):
            return self._expected[1].result().to(self.device)
        return self._read(asked).to(self.device)

    def expect(self, index_B: Places) -> None:
        self._expected = index_B, self._ahead.submit(self._read, index_B)

    def _read(self, index: Places | slice) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.images_NHWC[index].transpose(0, 3, 1, 2)))


def noise(seed: int, name: str, indices_B: Places, draws: int, device: str) -> Tensor:
    """Standard normal [B, draws], keyed by seed, name and index."""
    return torch.from_numpy(rng.normal(seed, name, indices_B.astype(np.uint64), draws=draws).astype(np.float32)).to(
        device
    )


def to_float(images: Tensor) -> Tensor:
    """uint8 → [-1, 1]."""
    return images.float() / 127.5 - 1.0


def starting(begin: Callable[..., Training]) -> Callable[..., Training]:
    """An architecture's `start`, of what trains it: begin(config, feed, (height, width, channels), classes, ...)."""

    def start(
        config: Any, images_NHWC: NDArray[np.uint8], labels_N: Places, classes: int, seed: int, device: str, *more: Any
    ) -> Training:
        """A training before its first step. Pixels are uint8; labels are below `classes`."""
        feed = Feed(images_NHWC, labels_N, config.batch, seed, device)
        height, width, channels = images_NHWC.shape[1:]
        return begin(config, feed, (height, width, channels), classes, *more)

    return start
