"""What measure computes about an image. Signals are functions of the decoded pixels; thresholds live in the recipe.

Axes: H height, W width, C channels. Pixels are uint8 in [0, 255]; grey is ITU-R 601 luma.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from dsray.kinds.image.codec import Decoded, Pixels
from dsray.kinds.image.features import LENGTH
from dsray.kinds.image.features import of_thumbnail as features_of
from dsray.kinds.image.signature import of_thumbnail as signature_of
from dsray.kinds.image.signature import shrunk

DARK, BRIGHT = 32, 223
"""A pixel is dark below, bright above: the outer eighths of the range."""

MEANINGS = {
    "side": "Shorter side, pixels.",
    "aspect": "Longer side over shorter side.",
    "megapixels": "Width times height, million pixels.",
    "dark": f"Share of pixels darker than {DARK}.",
    "bright": f"Share of pixels brighter than {BRIGHT}.",
    "low_information": "Entropy of grey levels, bits; 0 is one flat grey.",
    "brightness": "Mean grey level.",
    "contrast": "Standard deviation of grey levels.",
    "blur": "Variance of the Laplacian; low is blurred.",
    "colourfulness": "Hasler and Süsstrunk's colourfulness: 0 is grey, above 60 vivid.",
}

"""Signal → what it says; the order is that of the rules."""

SIGNALS = tuple(MEANINGS)

FLAGS = {
    "truncated": ("The file ends early; at least a quarter of its rows could be decoded.", True),
    "animated": ("More than one frame or page; the first one counts.", False),
    "transparent": ("Some pixel is not opaque; it is laid on white.", False),
}
"""What is true of an image or not, and whether such images are dropped by default."""

BOUNDS = {
    "min_side": ("side", "min", "Shorter side, pixels."),
    "max_aspect": ("aspect", "max", "Longer side over shorter side."),
}
"""Shorthand of a rule → its signal, the limit that it sets, what it says."""

FACTS = pa.schema(
    [
        ("format", pa.string()),  # jpeg, png, webp, gif, bmp, tiff, avif
        ("width", pa.int32()),  # pixels, upright
        ("height", pa.int32()),
        ("mode", pa.string()),  # as stored: L, RGB, RGBA, P, CMYK, ...
        ("channels", pa.int32()),  # as stored
        ("orientation", pa.int32()),  # EXIF's, 1 to 8; applied
        ("profile", pa.string()),  # name of an ICC profile that is not sRGB, else null; applied
        *((flag, pa.bool_()) for flag in FLAGS),
        *((signal, pa.float64()) for signal in SIGNALS),
        ("features", pa.list_(pa.uint8(), LENGTH)),  # see features.py
    ]
)
"""An image's own fact columns."""

_LEVEL = np.arange(256.0)
_OF_LEVEL = np.stack([_LEVEL, _LEVEL**2, _LEVEL < DARK, _LEVEL > BRIGHT])

cv2.setNumThreads(1)  # Ray runs one task a core


def measure(image: Decoded, own: Mapping[str, Callable[[Pixels], float]] = MappingProxyType({})) -> dict[str, Any]:
    """A fact row: `signature` (64 bits), FACTS, and `own` signals, which get the pixels."""
    height, width = image.height, image.width
    grey_HW = grey(image.pixels_HWC)
    grey_32 = shrunk(grey_HW)
    return {
        "signature": signature_of(grey_32),
        "format": image.format,
        "width": width,
        "height": height,
        "mode": image.mode,
        "channels": image.channels,
        "orientation": image.orientation,
        "profile": image.profile,
        **{flag: getattr(image, flag) for flag in FLAGS},
        "side": float(min(width, height)),
        "aspect": max(width, height) / min(width, height),
        "megapixels": width * height / 1e6,
        "blur": blur(grey_HW),
        **tones(grey_HW),
        "colourfulness": colourfulness(image.pixels_HWC),
        "features": features_of(image.pixels_HWC, grey_32).tolist(),
        **{name: float(signal(image.pixels_HWC)) for name, signal in own.items()},
    }


def grey(pixels_HWC: Pixels) -> Pixels:
    """Luma, [H, W]."""
    if pixels_HWC.shape[2] == 1:
        return pixels_HWC[:, :, 0]
    return np.asarray(cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY), np.uint8)


def blur(grey_HW: Pixels) -> float:
    """Variance of the Laplacian, in squared grey levels: low means blurred (Pech-Pacheco et al., 2000)."""
    edge_HW = cv2.Laplacian(grey_HW, cv2.CV_16S)
    return _variance(edge_HW.size, _total(edge_HW), _squares(edge_HW))


def tones(grey_HW: Pixels) -> dict[str, float]:
    """What the grey histogram says: brightness and contrast in grey levels, dark and bright as shares of the pixels,
    low_information as entropy in bits (0 for one flat grey, at most 8)."""
    count_256 = np.asarray(cv2.calcHist([grey_HW], [0], None, [256], [0, 256]), np.float64).ravel()
    total, squares, dark, bright = (int(value) for value in _OF_LEVEL @ count_256)  # below 2^53: exact
    n = int(count_256.sum())  # OpenCV counts in 32-bit floats: above 2^24 it is not quite the number of pixels
    share = count_256[count_256 > 0] / n
    return {
        "brightness": total / n,
        "contrast": math.sqrt(_variance(n, total, squares)),
        "dark": dark / n,
        "bright": bright / n,
        "low_information": abs(float(share @ np.log2(share))),
    }


def colourfulness(pixels_HWC: Pixels) -> float:
    """Of opponent colours, the spread plus 0.3 of the mean (Hasler and Süsstrunk 2003): 0 grey, above 60 vivid."""
    if pixels_HWC.shape[2] == 1:
        return 0.0
    red, green, blue = cv2.split(pixels_HWC)
    r, g, b = (_total(plane) for plane in (red, green, blue))
    rg, rb, gb = _squares(red, green), _squares(red, blue), _squares(green, blue)
    n = red.size
    var_rg = _variance(n, r - g, rg)
    var_yb = _variance(n, r + g - 2 * b, 2 * rb + 2 * gb - rg) / 4  # (u + v)² = 2u² + 2v² − (u − v)²
    return math.sqrt(var_rg + var_yb) + 0.3 * math.hypot((r - g) / n, (r + g - 2 * b) / n / 2)


def _total(values_HW: Any) -> int:
    return int(cv2.sumElems(values_HW)[0])


def _squares(values_HW: Any, others_HW: Any = None) -> int:
    """The sum of squares, or of squared differences. Exact to 2^51: OpenCV squares a root."""
    if others_HW is None:
        return round(cv2.norm(values_HW, cv2.NORM_L2SQR))
    return round(cv2.norm(values_HW, others_HW, cv2.NORM_L2SQR))


def _variance(count: int, total: int, squares: int) -> float:
    """From sums of integers, without a rounding before the last division."""
    return (count * squares - total**2) / count**2
