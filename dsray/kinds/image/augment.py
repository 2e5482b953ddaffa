"""Keyed augmentation: every affine step in one warp, every tone step in one table, noise last.

Axes: N rows, H height, W width, C channels.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from dsray import rng
from dsray.collection import Model
from dsray.kinds import Marked, Object
from dsray.kinds.image.codec import Pixels, decode, encode
from dsray.selection import Fraction

_DIGITS = 6
"""Parameters are rounded, so that they survive JSON exactly in any language."""

cv2.setNumThreads(1)  # Ray runs one task a core


class Augment(Model):
    """Transforms of training samples, all affine steps in one warp."""

    rotate: float = Field(0, ge=0, le=180, description="Degrees, either way.")
    scale: tuple[float, float] = Field((1, 1), description="Range of the scale.")
    translate: Fraction = Field(0, description="Share of the side, either way.")
    shear: float = Field(0, ge=0, le=45, description="Degrees, either way.")
    flip: bool = Field(False, description="Mirror left and right, half of the time.")
    brightness: Fraction = Field(0, description="Share of the range, either way.")
    contrast: Fraction = Field(0, description="Share, either way.")
    noise: Fraction = Field(0, description="Standard deviation of Gaussian noise, share of the range.")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError("needs 0 < low <= high")
        return scale


def plan(spec: dict[str, Any], seed: int, ids: Sequence[str], copy: int) -> list[dict[str, Any]]:
    """The transform of each row's copy, a pure function of (seed, row id, copy).

    `spec`: rotate and shear (degrees, either way), scale (range), translate (share of a side, either way), flip (half
    of the time), brightness (share of 255, either way), contrast (share, either way), noise (σ, share of 255).
    """
    row_N = rng.keys_of(ids)
    u_ND = rng.uniform(seed, "augment", row_N, copy, draws=8)
    noise_seed_N = rng.bits(seed, "augment/noise", row_N, copy)[:, 0] >> np.uint64(11)  # 53 bits: exact in any JSON
    low, high = spec.get("scale", (1.0, 1.0))
    columns = {
        "rotate": spec.get("rotate", 0) * (2 * u_ND[:, 0] - 1),
        "scale": low + (high - low) * u_ND[:, 1],
        "shift_x": spec.get("translate", 0) * (2 * u_ND[:, 2] - 1),
        "shift_y": spec.get("translate", 0) * (2 * u_ND[:, 3] - 1),
        "shear": spec.get("shear", 0) * (2 * u_ND[:, 4] - 1),
        "brightness": spec.get("brightness", 0) * (2 * u_ND[:, 5] - 1),
        "contrast": spec.get("contrast", 0) * (2 * u_ND[:, 6] - 1),
    }
    rounded = {name: (np.round(column, _DIGITS) + 0.0).tolist() for name, column in columns.items()}  # + 0.0: no -0.0
    flip_N = (u_ND[:, 7] < 0.5) & bool(spec.get("flip", False))
    fixed = {"noise": float(spec.get("noise", 0))}
    return [
        {name: values[row] for name, values in rounded.items()}
        | fixed
        | {"flip": bool(flip_N[row]), "noise_seed": int(noise_seed_N[row])}
        for row in range(len(ids))
    ]


def apply(
    media: bytes,
    params: dict[str, Any],
    objects: Sequence[Object] = (),
    partner: Marked | None = None,
    own: Sequence[Callable[[Pixels], Pixels]] = (),
) -> Marked:
    """An encoded sample → its transformed copy in the same format. Raises Undecodable."""
    image = decode(media)
    pixels_HWC = transform(image.pixels_HWC, params)
    for step in own:
        pixels_HWC = step(pixels_HWC)
    return encode(pixels_HWC, image.format), list(objects)


def transform(pixels_HWC: Pixels, params: dict[str, Any]) -> Pixels:
    """One warp (bilinear, mirrored at the border), one table of tones, one addition of noise."""
    height, width, channels = pixels_HWC.shape
    how: dict[str, Any] = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REFLECT_101}
    out: Any = cv2.warpAffine(pixels_HWC, matrix(params, height, width), (width, height), **how)
    if params["brightness"] or params["contrast"]:
        out = cv2.LUT(out, _tones(params["brightness"], params["contrast"]))
    out = out.reshape(height, width, channels)
    if params["noise"]:
        out = cv2.add(out, _noise(out.shape, params["noise"], params["noise_seed"]), dtype=cv2.CV_8U)
    return np.asarray(out, np.uint8).reshape(height, width, channels)


def matrix(params: dict[str, Any], height: int, width: int) -> NDArray[np.float64]:
    """[2, 3] source → target in pixels, about the centre: mirror, then shear, scale, rotate, shift."""
    angle, shear = np.deg2rad(params["rotate"]), np.tan(np.deg2rad(params["shear"]))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    linear = params["scale"] * rotation @ np.array([[1.0, shear], [0.0, 1.0]])
    if params["flip"]:
        linear = linear @ np.diag([-1.0, 1.0])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([params["shift_x"] * width, params["shift_y"] * height])
    return np.column_stack([linear, centre + shift - linear @ centre])


def _tones(brightness: float, contrast: float) -> Pixels:
    level_256 = np.arange(256.0)
    return np.clip(np.rint((level_256 - 127.5) * (1 + contrast) + 127.5 + 255 * brightness), 0, 255).astype(np.uint8)


def _noise(shape: tuple[int, ...], sigma: float, seed: int) -> NDArray[np.int16]:
    """Gaussian noise in grey levels: 16 random bits a value, looked up in a table of quantiles."""
    count = math.prod(shape)
    words = np.random.PCG64(seed).random_raw(-(-count // 4))  # raw words: NumPy never changes a bit generator's stream
    return _levels(sigma).take(words.astype("<u8", copy=False).view("<u2")[:count]).reshape(shape)


@lru_cache(maxsize=8)
def _levels(sigma: float) -> NDArray[np.int16]:
    return np.rint(255 * sigma * _quantiles()).astype(np.int16)


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float64]:
    """The standard normal distribution as 65,536 equally likely values."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse((index + 0.5) / 65536) for index in range(65536)])
