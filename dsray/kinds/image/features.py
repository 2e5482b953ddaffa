"""A small fixed vector of an image, for distances between images: where its colours and its edges are.

It is a coarse layout as in GIST (Oliva and Torralba 2001): a 4×4 grid of cells, each with its mean colour and the
strength of its edges in four directions, from thumbnails of 32×32. Whole numbers, so that sums over a data set are
exact in any order.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.signature import shrunk

_GRID, _CELL = 4, 8
LENGTH = 7 * _GRID**2
"""Red, green and blue of each cell, row by row; then the edges of all cells: along x, y and the two diagonals."""

_SUM = np.kron(np.eye(_GRID), np.ones(_CELL)).astype(np.float32)  # [4, 32]: pixels to cells
_MOST = _CELL**2 * 255
_ROOT = np.minimum(np.rint(16 * np.sqrt(np.arange(_MOST + 1) / _CELL**2)), 255).astype(np.uint8)


def features(pixels_HWC: Pixels) -> NDArray[np.uint8]:
    """[LENGTH] in [0, 255]: mean colours, then edges as 16 · √(mean absolute difference of neighbours, grey levels)."""
    grey_HW = pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY)
    return of_thumbnail(pixels_HWC, shrunk(np.asarray(grey_HW, np.uint8)))


def of_thumbnail(pixels_HWC: Pixels, grey_32: Pixels) -> NDArray[np.uint8]:
    """The same where the grey image is shrunk already."""
    return np.concatenate([_colours(pixels_HWC), _edges(grey_32)])


def _colours(pixels_HWC: Pixels) -> NDArray[np.uint8]:
    side = _GRID * _CELL
    colour_32 = cv2.resize(pixels_HWC, (side, side), interpolation=cv2.INTER_LINEAR)  # a tenth of INTER_AREA's cost
    cell_44 = np.asarray(cv2.resize(colour_32, (_GRID, _GRID), interpolation=cv2.INTER_AREA), np.uint8).ravel()
    return cell_44 if pixels_HWC.shape[2] == 3 else cell_44.repeat(3)


def _edges(grey_32: Pixels) -> NDArray[np.uint8]:
    wide = cv2.copyMakeBorder(grey_32, 0, 1, 0, 1, cv2.BORDER_REPLICATE).astype(np.int16)
    here, right, below, across = wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    change = np.abs(np.stack([right - here, below - here, across - here, below - right])).astype(np.float32)
    return np.asarray(_ROOT[(_SUM @ change @ _SUM.T).astype(np.int32)], np.uint8).ravel()  # sums below 2^24: exact
