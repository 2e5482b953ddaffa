"""To the 299 × 299 pixels that Inception reads. A FID is that of its resizer too: compare only under the same one.

clean-fid reads `pil-bicubic`, the default here; torch-fidelity, and the TensorFlow code behind most published numbers,
`tf1-bilinear`; pytorch-fid `half-pixel-bilinear`. Only the first filters before it shrinks (arXiv:2104.11222).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dsray.errors import DsrayError

Images = NDArray[np.uint8]
Pixels = NDArray[np.float32]
"""[N, 299, 299, 3] in [0, 255], not rounded."""

SIDE = 299
CLEAN = "pil-bicubic"


def resize(images_NHWC: Images, resizer: str = CLEAN) -> Pixels:
    """uint8 [N, H, W, C] → float32 [N, 299, 299, 3]; one channel becomes three. Raises DsrayError for others."""
    if images_NHWC.shape[3] not in (1, 3):
        raise DsrayError(
            f"Inception reads grey or RGB images, not {images_NHWC.shape[3]} channels.",
            "Set `render.mode` to L or RGB.",
        )
    made = RESIZERS[resizer](images_NHWC)
    return made if made.shape[3] == 3 else np.repeat(made, 3, axis=3)


def pil_bicubic(images_NHWC: Images) -> Pixels:
    """Bicubic (a = -½), widened by the factor when shrinking; one channel at a time in float32, then clipped."""
    n, _, _, channels = images_NHWC.shape
    made = np.empty((n, SIDE, SIDE, channels), np.float32)
    for row, column in np.ndindex(n, channels):
        plane = Image.fromarray(images_NHWC[row, :, :, column].astype(np.float32))
        made[row, :, :, column] = np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.asarray(made.clip(0, 255))


def tf1_bilinear(images_NHWC: Images) -> Pixels:
    """Bilinear with the top left corners aligned: pixel i is read at i · (H / 299), as TensorFlow 1 did."""
    return _separable(images_NHWC, lambda side: np.arange(SIDE) * (side / SIDE))


def half_pixel_bilinear(images_NHWC: Images) -> Pixels:
    """Bilinear with the centres of pixels aligned: pixel i is read at (i + ½) · (H / 299) - ½."""
    return _separable(images_NHWC, lambda side: (np.arange(SIDE) + 0.5) * (side / SIDE) - 0.5)


def _separable(images_NHWC: Images, places: Callable[[int], NDArray[Any]]) -> Pixels:
    height, width = (_weights(places(side), side) for side in images_NHWC.shape[1:3])
    read = np.einsum("yh,nhwc,xw->nyxc", height, images_NHWC.astype(np.float32), width, optimize=True)
    return np.asarray(read)


def _weights(place: NDArray[Any], side: int) -> NDArray[np.float32]:
    """[299, side]: how much of each pixel is read at each place; beyond the edge lies the edge."""
    place = place.clip(0, side - 1)
    low = np.floor(place).astype(int)
    weights = np.zeros((SIDE, side), np.float32)
    every = np.arange(SIDE)
    weights[every, low] = 1 - (place - low)
    weights[every, np.minimum(low + 1, side - 1)] += place - low
    return weights


RESIZERS: dict[str, Callable[[Images], Pixels]] = {
    CLEAN: pil_bicubic,
    "tf1-bilinear": tf1_bilinear,
    "half-pixel-bilinear": half_pixel_bilinear,
}
