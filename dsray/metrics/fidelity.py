"""How near an image is to the one it should be, number by number: PSNR, and SSIM after Wang et al. 2004.

Axes: N images, H height, W width, C channels. Pixels are uint8; L = 255 is their range.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.errors import DsrayError

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

SIDE = 11
"""Pixels of SSIM's Gaussian window, of standard deviation 1.5."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(made_NHWC: Images, true_NHWC: Images) -> Floats:
    """10 log₁₀(255² / MSE) of each image [N], in decibels; infinite for equal images."""
    wrong_NHWC = made_NHWC.astype(np.float64) - true_NHWC
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255**2 / np.square(wrong_NHWC).mean((1, 2, 3))))


def ssim(made_NHWC: Images, true_NHWC: Images) -> Floats:
    """Structural similarity of each image [N], 1 for equal ones: the mean over channels and all places of the window
    that lie within the image. Raises DsrayError for images smaller than the window."""
    if min(true_NHWC.shape[1:3]) < SIDE:
        raise DsrayError(f"SSIM needs images of at least {SIDE} × {SIDE} pixels.", "Take PSNR.")
    channels = range(true_NHWC.shape[3])
    pairs = zip(made_NHWC.astype(np.float64), true_NHWC.astype(np.float64), strict=True)
    return np.array([np.mean([_ssim(x[:, :, c], y[:, :, c]) for c in channels]) for x, y in pairs])


def _ssim(x_HW: Floats, y_HW: Floats) -> float:
    x, y = _local(x_HW), _local(y_HW)
    xx, yy, xy = _local(x_HW * x_HW) - x * x, _local(y_HW * y_HW) - y * y, _local(x_HW * y_HW) - x * y
    likeness = (2 * x * y + _C1) * (2 * xy + _C2) / ((x * x + y * y + _C1) * (xx + yy + _C2))
    return float(likeness.mean())


def _local(x_HW: Floats) -> Floats:
    """The window's weighted mean at every place within the image."""
    edge = SIDE // 2
    return np.asarray(cv2.GaussianBlur(x_HW, (SIDE, SIDE), 1.5)[edge:-edge, edge:-edge], np.float64)
