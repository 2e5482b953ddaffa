"""Signals that recipes of the tests name by `module:function`."""

import numpy as np


def ink(pixels: np.ndarray) -> float:
    """Pixels that are not black."""
    return float(np.count_nonzero(pixels))


def middle(pixels: np.ndarray) -> float:
    """The grey level at which half of the pixels are darker."""
    return float(np.median(pixels))
