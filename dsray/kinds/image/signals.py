"""What measure computes about an image. Signals are functions of the decoded pixels; thresholds live in the recipe.

Axes: H height, W width, C channels. Pixels are uint8 in [0, 255]; grey is ITU-R 601 luma.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from dsray.kinds.image.codec import Pixels, Undecodable, decode
from dsray.kinds.image.signature import signature

DARK, BRIGHT = 32, 223
"""A pixel is dark below, bright above: the outer eighths of the range."""

MEANINGS = {
    "side": "Shorter side, pixels.",
    "aspect": "Longer side over shorter side.",
    "dark": f"Share of pixels darker than {DARK}.",
    "bright": f"Share of pixels brighter than {BRIGHT}.",
    "low_information": "Entropy of grey levels, bits; 0 is one flat grey.",
    "brightness": "Mean grey level.",
    "contrast": "Standard deviation of grey levels.",
    "blur": "Variance of the Laplacian; low is blurred.",
    "colourfulness": "Hasler and Süsstrunk's colourfulness: 0 is grey, above 60 vivid.",
}
"""Signal → what it says; the order is that of the rules."""

FLAGS: dict[str, tuple[str, bool]] = {}

BOUNDS = {
    "min_side": ("side", "min", "Shorter side, pixels."),
    "max_aspect": ("aspect", "max", "Longer side over shorter side."),
}

SIGNALS = tuple(MEANINGS)

FACTS = pa.schema(
    [
        ("format", pa.string()),  # jpeg, png, webp, gif, bmp, tiff
        ("width", pa.int32()),  # pixels, upright
        ("height", pa.int32()),
        ("mode", pa.string()),  # as stored: L, RGB, RGBA, P, CMYK, ...
        ("channels", pa.int32()),  # as stored
        *((signal, pa.float64()) for signal in SIGNALS),
    ]
)
"""An image's own fact columns."""

cv2.setNumThreads(1)  # Ray runs one task a core


def measure(
    payload: bytes | None, own: Mapping[str, Callable[[Pixels], float]] = MappingProxyType({})
) -> dict[str, Any]:
    """Any bytes → a fact row, from one decode: `error` (a reason or None), `signature` (64 bits), FACTS, and `own`
    signals, which get the pixels."""
    row: dict[str, Any] = dict.fromkeys(("error", "signature", *FACTS.names, *own))
    try:
        image = decode(payload or b"")
    except Undecodable as undecodable:
        return row | {"error": undecodable.reason}
    grey_HW = grey(image.pixels_HWC)
    return row | {
        "signature": signature(grey_HW),
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "channels": image.channels,
        "side": float(min(image.width, image.height)),
        "aspect": max(image.width, image.height) / min(image.width, image.height),
        "blur": blur(grey_HW),
        **tones(grey_HW),
        "colourfulness": colourfulness(image.pixels_HWC),
        **{name: float(signal(image.pixels_HWC)) for name, signal in own.items()},
    }


def grey(pixels_HWC: Pixels) -> Pixels:
    """Luma, [H, W]."""
    if pixels_HWC.shape[2] == 1:
        return pixels_HWC[:, :, 0]
    return np.asarray(cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2GRAY), np.uint8)


def blur(grey_HW: Pixels) -> float:
    """Variance of the Laplacian, in squared grey levels: low means blurred (Pech-Pacheco et al., 2000)."""
    return _moments(cv2.Laplacian(grey_HW, cv2.CV_16S))[1]


def tones(grey_HW: Pixels) -> dict[str, float]:
    """What the grey histogram says: brightness and contrast in grey levels, dark and bright as shares of the pixels,
    low_information as entropy in bits (0 for one flat grey, at most 8)."""
    count_256 = np.asarray(cv2.calcHist([grey_HW], [0], None, [256], [0, 256]), np.float64).ravel()
    share_256 = count_256 / count_256.sum()
    level_256 = np.arange(256.0)
    mean = float(share_256 @ level_256)
    seen = share_256[share_256 > 0]
    return {
        "brightness": mean,
        "contrast": float(np.sqrt(share_256 @ (level_256 - mean) ** 2)),
        "dark": float(share_256[:DARK].sum()),
        "bright": float(share_256[BRIGHT + 1 :].sum()),
        "low_information": abs(float(seen @ np.log2(seen))),
    }


def colourfulness(pixels_HWC: Pixels) -> float:
    """Of opponent colours, the spread plus 0.3 of the mean (Hasler and Süsstrunk 2003): 0 grey, above 60 vivid."""
    if pixels_HWC.shape[2] == 1:
        return 0.0
    red, green, blue = cv2.split(pixels_HWC)
    mean_rg, var_rg = _moments(cv2.subtract(red, green, dtype=cv2.CV_16S))
    twice = cv2.subtract(cv2.add(red, green, dtype=cv2.CV_16S), cv2.add(blue, blue, dtype=cv2.CV_16S))
    mean_yb, var_yb = _moments(twice)
    return float(np.sqrt(var_rg + var_yb / 4) + 0.3 * np.sqrt(mean_rg**2 + mean_yb**2 / 4))


def _moments(values_HW: Any) -> tuple[float, float]:
    """Mean and variance."""
    mean, deviation = cv2.meanStdDev(values_HW)
    return float(mean[0, 0]), float(deviation[0, 0]) ** 2
