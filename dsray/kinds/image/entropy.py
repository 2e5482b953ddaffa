"""Where in an image the information is.

What a window holds is the entropy of its grey levels' differences from their neighbours, in bits: what a codec would
have to spend a pixel. A sky is many grey levels but few differences. Axes: L lines (columns or rows), B bins.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 96
"""Of the thumbnail that is looked at."""

_BINS = 64


def offset(image: Image.Image, share: float, axis: int) -> float:
    """Where a window with that share of the side holds most, as a share of its room: 0 first, 1 last.

    `axis`: 1 the window moves along x, 0 along y. Of equals the one nearest to the middle.
    """
    scale = min(1.0, _SIDE / max(image.size))
    small = image.convert("L").resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
    lines = small.size[1 - axis]
    long = min(lines, max(1, round(share * lines)))
    if long == lines:
        return 0.5
    total_LB = _cumulated(np.asarray(small, np.int16), axis)
    bits = np.round(_entropy(total_LB[long:] - total_LB[:-long]), 6)
    places = np.linspace(0, 1, lines - long + 1)
    best = np.flatnonzero(bits == bits.max())
    return float(places[best[np.abs(places[best] - 0.5).argmin()]])


def _cumulated(grey_HW: NDArray[np.int16], axis: int) -> NDArray[np.int64]:
    """[L + 1, B] the histograms of differences of all lines before each."""
    difference_HW = np.zeros_like(grey_HW)
    difference_HW[1:, 1:] = (2 * grey_HW[1:, 1:] - grey_HW[:-1, 1:] - grey_HW[1:, :-1]) // 2
    bin_HW = (difference_HW.astype(np.int64) + 256) * _BINS // 512
    bin_LS = bin_HW.T if axis == 1 else bin_HW
    lines = len(bin_LS)
    place_LS = bin_LS + _BINS * np.arange(lines)[:, None]
    count_LB = np.bincount(place_LS.ravel(), minlength=lines * _BINS).reshape(lines, _BINS)
    return np.concatenate([np.zeros((1, _BINS), np.int64), count_LB.cumsum(axis=0)])


def _entropy(count_PB: NDArray[np.int64]) -> NDArray[np.float64]:
    share_PB = count_PB / count_PB.sum(axis=1, keepdims=True)
    return np.asarray(-np.sum(share_PB * np.log2(np.where(share_PB > 0, share_PB, 1)), axis=1))
