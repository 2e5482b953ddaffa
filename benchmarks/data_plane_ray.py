"""measure + render + augment against the program that a user of Ray Data would write, on the same raw shards.

read_parquet, one map_batches (Pillow decodes; blur, brightness and difference hash; blurred and dark ones are dropped;
padded to a square; albumentations warps and adds noise; both images as JPEG), write_parquet. It does less than dsray:
four facts are not kept, nothing is digested, resumed, quarantined or put create-only, and
its random numbers are not those of the row. Without albumentations (`make bench` installs it) OpenCV warps.
"""

import io
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks import protocol
from benchmarks.data_plane import SIDE, Corpus, corpus, timed

AT_LEAST = 1.0
Augment = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def augmentation() -> Augment:
    """data_plane.AUGMENT as albumentations has it, all affine steps in one."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else the import asks the network for a newer version
    try:
        import albumentations as A  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return by_hand
    mirrored = {"border_mode": cv2.BORDER_REFLECT_101, "interpolation": cv2.INTER_LINEAR, "p": 1.0}
    affine = A.Affine(rotate=(-12, 12), scale=(0.9, 1.1), translate_percent=(-0.08, 0.08), **mirrored)
    steps = A.Compose([affine, A.GaussNoise(std_range=(0.03, 0.03), p=1.0)])
    return lambda pixels_HWC: np.asarray(steps(image=pixels_HWC)["image"], np.uint8)


def by_hand(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    random = np.random.default_rng()
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.uniform(-12, 12), random.uniform(0.9, 1.1))
    turn[:, 2] += random.uniform(-0.08, 0.08, 2) * SIDE
    warped = cv2.warpAffine(pixels_HWC, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    return np.clip(warped + random.normal(0, 0.03 * 255, warped.shape), 0, 255).astype(np.uint8)


def jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95)
    return out.getvalue()


def both(batch: pa.Table) -> pa.Table:
    """The rows that are left, each with its rendered and its augmented image."""
    rows, augment = [], augmentation()
    for row, payload in zip(batch["id"].to_pylist(), batch["payload"].to_pylist(), strict=True):
        image = Image.open(io.BytesIO(payload)).convert("RGB")
        grey = image.convert("L")
        small = np.asarray(grey.resize((9, 8)))
        hashed = np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()
        pixels = np.asarray(grey)
        if cv2.Laplacian(pixels, cv2.CV_64F).var() < 15 or pixels.mean() < 5:
            continue
        padded = ImageOps.pad(image, (SIDE, SIDE))
        warped = Image.fromarray(augment(np.asarray(padded)))
        rows.append({"id": row, "hash": hashed, "image": jpeg(padded), "augmented": jpeg(warped)})
    return pa.Table.from_pylist(rows)


def naive(lake: Corpus) -> None:
    import ray.data

    context: Any = ray.data.DataContext.get_current()
    ours, context.target_max_block_size = context.target_max_block_size, 128 * 2**20  # Ray's default
    try:
        rows = ray.data.read_parquet(lake.files, columns=["id", "payload"])
        rows.map_batches(both, batch_format="pyarrow").write_parquet(str(lake.folder / "naive"))
    finally:
        context.target_max_block_size = ours
    shutil.rmtree(lake.folder / "naive")


def main() -> int:
    images, a_shard = (1200, 100) if protocol.quick(__doc__) else (8000, 500)
    with corpus(images, a_shard) as lake:
        seconds = protocol.medians(5, partial(timed, lake), partial(naive, lake))
    ours, theirs = (images / each for each in seconds)
    how = "OpenCV" if augmentation() is by_hand else "albumentations"
    print(f"{ours:.0f} images/s, {theirs:.0f} by Ray Data, Pillow and {how} in one pass; {os.cpu_count()} cores")
    return protocol.verdict("data_plane_ray", ours, theirs, ours / theirs, AT_LEAST, "images/s")


if __name__ == "__main__":
    sys.exit(main())
