"""What cameras, hands and codecs do to a picture: blur, a hidden square, JPEG's blocks.

Axes: H height, W width, C channels.
"""

import io

import cv2
import numpy as np
from PIL import Image

from dsray.kinds.image.codec import Pixels


def blur(pixels_HWC: Pixels, sigma: float) -> Pixels:
    """A Gaussian of `sigma` pixels, mirrored at the border."""
    return np.asarray(cv2.GaussianBlur(pixels_HWC, (0, 0), sigma), np.uint8).reshape(pixels_HWC.shape)


def square(x: float, y: float, side: float, height: int, width: int) -> tuple[int, int, int]:
    """(left, top, side) in pixels: `side` is a share of the shorter side, x and y of the room that it leaves."""
    pixels = round(side * min(height, width))
    return round(x * (width - pixels)), round(y * (height - pixels)), pixels


def cutout(pixels_HWC: Pixels, x: float, y: float, side: float) -> Pixels:
    """A square erased by the image's mean colour (DeVries and Taylor 2017, arXiv:1708.04552)."""
    left, top, pixels = square(x, y, side, *pixels_HWC.shape[:2])
    out_HWC = pixels_HWC.copy()
    mean_C = cv2.mean(pixels_HWC)[: pixels_HWC.shape[2]]
    out_HWC[top : top + pixels, left : left + pixels] = np.rint(mean_C)
    return out_HWC


def jpeg(pixels_HWC: Pixels, quality: int) -> Pixels:
    """Through JPEG and back, chroma at half the resolution as cameras and sites save it."""
    channels = pixels_HWC.shape[2]
    out = io.BytesIO()
    Image.fromarray(pixels_HWC if channels == 3 else pixels_HWC[:, :, 0]).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out), np.uint8).reshape(pixels_HWC.shape)
