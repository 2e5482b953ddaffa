"""Random pixels, a pure function of a seed: Gaussian noise, salt and pepper.

Axes: H height, W width, C channels.
"""

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels


def gaussian(pixels_HWC: Pixels, sigma: float, seed: int) -> Pixels:
    """Every value moved by noise of standard deviation `sigma`, a share of the range."""
    noise_HWC = gaussian_levels(pixels_HWC.shape, sigma, seed)
    if noise_HWC.dtype == np.int8:  # 0 to 255 as -128 to 127: bytes plus bytes, saturating, is the fastest there is
        moved: Any = cv2.add((pixels_HWC ^ 128).view(np.int8), noise_HWC)
        return np.asarray(moved.view(np.uint8) ^ 128, np.uint8).reshape(pixels_HWC.shape)
    return np.asarray(cv2.add(pixels_HWC, noise_HWC, dtype=cv2.CV_8U), np.uint8).reshape(pixels_HWC.shape)


def salt_and_pepper(pixels_HWC: Pixels, share: float, seed: int) -> Pixels:
    """That share of the pixels, half white and half black."""
    height, width, _ = pixels_HWC.shape
    word_HW = _bytes(2 * height * width, [seed, 1]).view("<u2").reshape(height, width)
    few = round(share * 32768)
    out_HWC = pixels_HWC.copy()
    out_HWC[word_HW < few] = 0
    out_HWC[word_HW >= 65536 - few] = 255
    return out_HWC


def gaussian_levels(shape: tuple[int, ...], sigma: float, seed: int) -> NDArray[np.int8 | np.int16]:
    """Gaussian noise in grey levels, int8 where it fits: the sum of two lookups, 8 random bits each."""
    half_256 = _half(sigma)
    byte_2N = _bytes(2 * math.prod(shape), seed).reshape(2, 1, -1)
    noise_N: Any = cv2.add(cv2.LUT(byte_2N[0], half_256), cv2.LUT(byte_2N[1], half_256))
    levels: NDArray[np.int8 | np.int16] = noise_N.reshape(shape)
    return levels


def _bytes(count: int, seed: int | list[int]) -> NDArray[np.uint8]:
    words = np.random.PCG64(seed).random_raw(-(-count // 8))  # raw words: NumPy never changes a bit generator's stream
    return words.astype("<u8", copy=False).view(np.uint8)[:count]


@lru_cache(maxsize=8)
def _half(sigma: float) -> NDArray[np.int8 | np.int16]:
    """[256] equally likely grey levels; two of them add up to the variance of rounded Gaussian noise."""
    wanted = _rounded_variance(255 * sigma) / 2
    low, high = 0.0, 255 * sigma + 1
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if np.rint(middle * _steps()).var() < wanted else (low, middle)
    level_256 = np.rint(high * _steps())
    return level_256.astype(np.int8 if 2 * level_256.max() <= 127 else np.int16)


def _rounded_variance(deviation: float) -> float:
    """Of a Gaussian rounded to whole numbers."""
    if not deviation:
        return 0.0
    normal = NormalDist(0, deviation)
    last = math.ceil(7 * deviation)
    return sum(2 * level**2 * (normal.cdf(level + 0.5) - normal.cdf(level - 0.5)) for level in range(1, last + 1))


@lru_cache(maxsize=1)
def _steps() -> NDArray[np.float64]:
    """The standard normal distribution as 256 equally likely values of variance 1; the outermost two, which stand for
    the tails, lie so that the fourth moment is a Gaussian's too."""
    step_256 = np.array([NormalDist().inv_cdf((index + 0.5) / 256) for index in range(256)])
    low, high = step_256[-1], 6.0
    for _ in range(40):
        step_256[-1] = (low + high) / 2
        step_256[0] = -step_256[-1]
        kurtosis = (step_256**4).mean() / (step_256**2).mean() ** 2
        low, high = (step_256[-1], high) if kurtosis < 3 else (low, step_256[-1])
    return np.asarray(step_256 / step_256.std())
