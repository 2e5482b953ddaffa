"""Where pixels go: every geometric step of a sample in one homography, pixels and masks warped once by it.

Coordinates are continuous: pixel i covers [i, i + 1), so the centre of an image is half its size.
Axes: H height, W width, C channels.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.objects import Matrix

STEPS = frozenset({"rotate", "scale", "shift_x", "shift_y", "shear", "flip", "vertical_flip", "crop", "corners"})
"""The parameters that move pixels."""

_TO_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
"""A pixel's number → the coordinates of its centre."""


def homography(params: dict[str, Any], height: int, width: int) -> Matrix:
    """[3, 3] source → target: mirror, shear, scale, rotate about the centre, shift; crop; move the corners."""
    angle, shear = np.deg2rad(params.get("rotate", 0)), np.tan(np.deg2rad(params.get("shear", 0)))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = params.get("scale", 1) * rotation @ np.array([[1.0, shear], [0.0, 1.0]])
    linear = linear * [-1 if params.get("flip") else 1, -1 if params.get("vertical_flip") else 1]
    centre = np.array([width / 2, height / 2])
    shift = np.array([params.get("shift_x", 0) * width, params.get("shift_y", 0) * height])
    total = np.eye(3)
    total[:2, :2], total[:2, 2] = linear, centre + shift - linear @ centre
    if "crop" in params:
        x, y, side = params["crop"]
        total = np.array([[1, 0, -x * width], [0, 1, -y * height], [0, 0, side]]) / side @ total
    if "corners" in params:
        size = np.array([width, height, 1.0])
        total = size[:, None] * _quadrangle(params["corners"]) / size @ total
    return total


def warp(pixels_HWC: Pixels, params: dict[str, Any]) -> Pixels:
    """Bilinear; beyond the border is the mirror image, or black."""
    border = cv2.BORDER_CONSTANT if params.get("border") == "black" else cv2.BORDER_REFLECT_101
    return _warped(pixels_HWC, params, cv2.INTER_LINEAR, border).reshape(pixels_HWC.shape)


def warp_mask(mask_HW: NDArray[Any], params: dict[str, Any]) -> NDArray[Any]:
    """The nearest pixel's class; 0 beyond the border."""
    return _warped(mask_HW, params, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)


def _warped(pixels: NDArray[Any], params: dict[str, Any], how: int, border: int) -> NDArray[Any]:
    if not STEPS & params.keys():
        return pixels
    height, width = pixels.shape[:2]
    matrix = np.linalg.inv(_TO_CENTRES) @ homography(params, height, width) @ _TO_CENTRES
    if "corners" in params:
        return np.asarray(cv2.warpPerspective(pixels, matrix, (width, height), flags=how, borderMode=border))
    return np.asarray(cv2.warpAffine(pixels, matrix[:2], (width, height), flags=how, borderMode=border))


def _quadrangle(shifts: list[float]) -> Matrix:
    """The unit square → the same with its corners shifted by (x, y), clockwise from (0, 0) (Heckbert 1989, §2.2.3)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + np.reshape(shifts, (4, 2))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    bottom = (x1 - x2) * (y3 - y2) - (x3 - x2) * (y1 - y2)
    g = (sum_x * (y3 - y2) - (x3 - x2) * sum_y) / bottom
    h = ((x1 - x2) * sum_y - sum_x * (y1 - y2)) / bottom
    return np.array([[x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, 1]])
