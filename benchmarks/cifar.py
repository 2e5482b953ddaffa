"""CIFAR-10 as the Parquet files of `../shared/data/cifar10` hold it (Krizhevsky 2009): for figures that need colour."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "cifar10"

Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]


def cifar(part: str, folder: Path = FOLDER, rows: int | None = None) -> Pictures:
    """Images uint8 [N, 32, 32, 3] and labels [N] of `train` or `test`. Raises FileNotFoundError."""
    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(folder / f"{part}.parquet").slice(0, rows)
    images = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in table["image"].to_pylist()]
    names = table["label"].to_pylist()
    place = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.stack(images), np.array([place[name] for name in names], np.int64)
