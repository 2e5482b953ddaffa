"""Random pixels, a pure function of a seed: Gaussian noise, salt and pepper.

Axes: H height, W width, C channels.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels


def gaussian(pixels_HWC: Pixels, sigma: float, seed: int) -> Pixels:
    """Every value moved by noise of standard deviation `sigma`, a share of the range."""
    noise_HWC = gaussian_levels(pixels_HWC.shape, sigma, seed)
    return np.asarray(cv2.add(pixels_HWC, noise_HWC, dtype=cv2.CV_8U), np.uint8).reshape(pixels_HWC.shape)


def salt_and_pepper(pixels_HWC: Pixels, share: float, seed: int) -> Pixels:
    """That share of the pixels, half white and half black."""
    height, width, _ = pixels_HWC.shape
    word_HW = _words((height, width), [seed, 1])
    few = round(share * 32768)
    out_HWC = pixels_HWC.copy()
    out_HWC[word_HW < few] = 0
    out_HWC[word_HW >= 65536 - few] = 255
    return out_HWC


def gaussian_levels(shape: tuple[int, ...], sigma: float, seed: int) -> NDArray[np.int16]:
    """Gaussian noise in grey levels: 16 random bits a value, looked up in a table of quantiles."""
    return _levels(sigma).take(_words(shape, seed), mode="wrap")  # every index is within: no check


def _words(shape: tuple[int, ...], seed: int | list[int]) -> NDArray[np.uint16]:
    count = math.prod(shape)
    words = np.random.PCG64(seed).random_raw(-(-count // 4))  # raw words: NumPy never changes a bit generator's stream
    return words.astype("<u8", copy=False).view("<u2")[:count].reshape(shape)


@lru_cache(maxsize=8)
def _levels(sigma: float) -> NDArray[np.int16]:
    return np.rint(255 * sigma * _quantiles()).astype(np.int16)


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float64]:
    """The standard normal distribution as 65,536 equally likely values."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((index + 0.5) / 65536) for index in range(65536)])
