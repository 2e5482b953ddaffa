"""The training rows as one array: in memory when they fit, else in a file of the worker's disk, with the same bytes.

Not Ray Data's iterator: its order is that of blocks and a shuffling buffer, which cannot be keyed by (seed, step), and
a resumed run would read again all that it had read. From an array a step takes its rows wherever they lie, at once.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dsray.errors import DsrayError
from dsray.kinds import Kind, kind
from dsray.lake import shards
from dsray.lake.shards import Receipt
from dsray.lake.store import Store
from dsray.stages.samples import good

_SHARE = 0.5  # of the memory that is free
_PART = 1024  # rows decoded at once


def arrays(store: Store, samples: list[Receipt], of_kind: str, room: int) -> tuple[NDArray[np.uint8], list[str | None]]:
    """The training rows as uint8 [N, H, W, C] and their labels, in the order of their ids. Above `room` bytes the
    pixels are a memory map, of a file that is gone with its process. Raises DsrayError when there are no rows."""
    about = [_training(table) for table in shards.each(store, samples, ["id", "label", "split", "error"], ahead=8)]
    whole = pa.concat_tables(about)
    if not whole.num_rows:
        raise DsrayError(
            "There are no training rows to learn from.", "Loosen `select` or give `select.split` a larger train."
        )
    order_N = pc.sort_indices(whole["id"]).to_numpy()
    place_N = np.empty_like(order_N)
    place_N[order_N] = np.arange(len(order_N))
    images_NHWC: NDArray[np.uint8] | None = None
    done = 0
    for decoded in _decoded(store, samples, kind(of_kind)):
        if images_NHWC is None:
            images_NHWC = _empty((len(place_N), *decoded.shape[1:]), room)
        images_NHWC[place_N[done : done + len(decoded)]] = decoded
        done += len(decoded)
    assert images_NHWC is not None and done == len(place_N)
    return images_NHWC, whole["label"].take(order_N).to_pylist()


def room(device: str, workers: int) -> int:
    """Bytes of training rows that one of so many workers may keep in memory, if all are on this machine."""
    free = _available() / workers
    if device != "cpu":
        import torch

        free = min(free, torch.cuda.mem_get_info(device)[0])
    return int(_SHARE * free)


def _training(table: pa.Table) -> pa.Table:
    table = good(table)
    return table.filter(pc.equal(table["split"], "train"))


def _decoded(store: Store, samples: list[Receipt], of_kind: Kind) -> Iterator[Any]:
    """uint8 [B, H, W, C] of the training rows, as the shards have them; one shard is held, and the next."""
    for table in shards.each(store, samples, ["media", "split", "error"]):
        media = _training(table)["media"]
        for start in range(0, len(media), _PART):
            yield of_kind.to_arrays([one["bytes"] for one in media.slice(start, _PART).to_pylist()])


def _empty(shape: tuple[int, ...], room: int) -> NDArray[np.uint8]:
    size = int(np.prod(shape))
    if size <= room:
        return np.empty(shape, np.uint8)
    folder = tempfile.gettempdir()
    disk = os.statvfs(folder)
    if size > disk.f_bavail * disk.f_frsize:
        raise DsrayError(
            f"The training rows take {size / 2**30:.1f} GiB: more than half of the free memory, and than {folder} has.",
            "Set TMPDIR to a larger disk, give the worker more memory, or render smaller samples.",
        )
    with tempfile.TemporaryFile() as file:  # has no name: a killed worker leaves nothing
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _available() -> int:
    """Bytes of memory that nobody uses."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # no Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
