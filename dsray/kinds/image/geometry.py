"""Where pixels go: every geometric step of a sample in one homography, pixels and masks warped once by it.

Coordinates are continuous: pixel i covers [i, i + 1), so the centre of an image is half its size.
Axes: H height, W width, C channels.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.objects import Matrix

STEPS = frozenset({"rotate", "scale", "shift_x", "shift_y", "shear", "flip", "vertical_flip", "crop", "corners"})
"""The parameters that move pixels."""


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
    if not STEPS & params.keys():
        return pixels_HWC
    height, width, channels = pixels_HWC.shape
    border = cv2.BORDER_CONSTANT if params.get("border") == "black" else cv2.BORDER_REFLECT_101
    matrix = _between_centres(homography(params, height, width))
    source = cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2RGBA) if channels == 3 else pixels_HWC
    margins = _margins(matrix, height, width)
    if sum(margins[:2]) <= height and sum(margins[2:]) <= width:
        source = cv2.copyMakeBorder(source, *margins, border)
        matrix = matrix @ np.array([[1.0, 0, -margins[2]], [0, 1, -margins[0]], [0, 0, 1]])
    out = _warped(source, matrix, (width, height), "corners" not in params, cv2.INTER_LINEAR, border)
    out = cv2.cvtColor(out, cv2.COLOR_RGBA2RGB) if channels == 3 else out
    return np.asarray(out, np.uint8).reshape(pixels_HWC.shape)


def warp_mask(mask_HW: NDArray[Any], params: dict[str, Any]) -> NDArray[Any]:
    """The nearest pixel's class; 0 beyond the border."""
    if not STEPS & params.keys():
        return mask_HW
    height, width = mask_HW.shape
    matrix = _between_centres(homography(params, height, width))
    affine = "corners" not in params
    return np.asarray(_warped(mask_HW, matrix, (width, height), affine, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT))


def _between_centres(homography_33: Matrix) -> Matrix:
    """The same map between the numbers of pixels."""
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    return np.asarray((np.eye(3) - half) @ homography_33 @ (np.eye(3) + half))


def _margins(matrix: Matrix, height: int, width: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right): how many pixels beyond the source the target sees.

    With them and a fourth channel OpenCV's vectorised path serves every pixel: half the time, the same pixels.
    """
    corner_34 = np.array([[0, width - 1, width - 1, 0], [0, 0, height - 1, height - 1], [1, 1, 1, 1]], float)
    x_4, y_4, w_4 = np.linalg.inv(matrix) @ corner_34
    if w_4.min() <= 0.1:  # at the horizon of a perspective
        return height, height, width, width
    x_4, y_4 = x_4 / w_4, y_4 / w_4
    beyond = (-y_4.min(), y_4.max() - height, -x_4.min(), x_4.max() - width)
    top, bottom, left, right = (max(0, math.ceil(reach) + 2) for reach in beyond)
    return top, bottom, left, right


def _warped(source: Any, matrix: Matrix, size: tuple[int, int], affine: bool, how: int, border: int) -> Any:
    if affine:
        return cv2.warpAffine(source, matrix[:2], size, flags=how, borderMode=border)
    return cv2.warpPerspective(source, matrix, size, flags=how, borderMode=border)


def _quadrangle(shifts: list[float]) -> Matrix:
    """The unit square → the same with its corners shifted by (x, y), clockwise from (0, 0) (Heckbert 1989, §2.2.3)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + np.reshape(shifts, (4, 2))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    bottom = (x1 - x2) * (y3 - y2) - (x3 - x2) * (y1 - y2)
    g = (sum_x * (y3 - y2) - (x3 - x2) * sum_y) / bottom
    h = ((x1 - x2) * sum_y - sum_x * (y1 - y2)) / bottom
    return np.array([[x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, 1]])
