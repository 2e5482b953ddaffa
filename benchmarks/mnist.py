"""MNIST as the IDX files of `../shared/data/mnist` hold it (LeCun et al. 1998): for figures that need real digits."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "mnist"

Digits = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]


def mnist(folder: Path = FOLDER) -> Digits:
    """Training images uint8 [60000, 28, 28, 1] and labels [60000], test images and labels. Raises FileNotFoundError."""
    train, test = (
        _idx(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1) for part in ("train", "t10k")
    )
    of_train, of_test = (_idx(folder / f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k"))
    return train, of_train.astype(np.int64), test, of_test.astype(np.int64)


def _idx(path: Path, header: int) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(gzip.decompress(path.read_bytes())), np.uint8, offset=header)
