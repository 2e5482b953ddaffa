"""Two samples in one: mixup (Zhang et al. 2018, arXiv:1710.09412) and cutmix (Yun et al. 2019, arXiv:1905.04899).

`mix`: how (mixup or cutmix), share (λ: the row's own part, the partner has the rest), and for cutmix the partner's
rectangle x, y, width, height as shares of the sides.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dsray.kinds.image.codec import Pixels
from dsray.kinds.image.objects import Object, cover, within

ALPHA = 0.4
"""Of the Beta distribution of λ: most samples are mixed a little or nearly whole (mixup §3.1: 0.2 to 0.4)."""

_TRIES = 16
"""One fails with probability 0.15; 16 in a row do once in 10^13 rows, which then is not mixed."""

DRAWS = 2 * _TRIES


def shares(u_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, DRAWS] uniform → [N] shares λ from Beta(ALPHA, ALPHA), by rejection (Jöhnk 1964)."""
    x_NT, y_NT = ((1 - u_ND) ** (1 / ALPHA)).reshape(-1, 2, _TRIES).transpose(1, 0, 2)  # 1 - u: never 0
    fits_NT = x_NT + y_NT <= 1
    first_N1 = fits_NT.argmax(axis=1)[:, None]
    share_N1 = np.take_along_axis(x_NT / (x_NT + y_NT), first_N1, axis=1)
    return np.where(fits_NT.any(axis=1), share_N1[:, 0], 1.0)


def mixup(own: float) -> dict[str, Any]:
    """The parameters of a blend in which the row's own part is `own`."""
    return {"how": "mixup", "share": own}


def cutmix(own: float, x: float, y: float) -> dict[str, Any]:
    """A rectangle of area 1 - own about (x, y), cut off at the border; `share` is of what it leaves (cutmix §3.1)."""
    half = math.sqrt(1 - own) / 2
    left, right, top, bottom = max(0, x - half), min(1, x + half), max(0, y - half), min(1, y + half)
    shape = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    shape = {name: round(value, 6) for name, value in shape.items()}
    return {"how": "cutmix", "share": round(1 - shape["width"] * shape["height"], 6), **shape}


def pixels(own_HWC: Pixels, other_HWC: Pixels, mix: dict[str, Any]) -> Pixels:
    """λ·own + (1 − λ)·other, or the other's rectangle pasted. Raises ValueError when the two differ in form."""
    _same_form(own_HWC, other_HWC)
    if mix["how"] == "mixup":
        mixed = cv2.addWeighted(own_HWC, mix["share"], other_HWC, 1 - mix["share"], 0)
        return np.asarray(mixed, np.uint8).reshape(own_HWC.shape)
    return pasted(own_HWC, other_HWC, mix)


def pasted(own: NDArray[Any], other: NDArray[Any], mix: dict[str, Any]) -> NDArray[Any]:
    """The other's rectangle on the own; pixels or masks."""
    _same_form(own, other)
    left, top, width, height = rectangle(mix, *own.shape[:2])
    out = own.copy()
    out[top : top + height, left : left + width] = other[top : top + height, left : left + width]
    return out


def objects(
    own: Sequence[Object], other: Sequence[Object], mix: dict[str, Any], height: int, width: int
) -> list[Object]:
    """The objects of the mixed sample: all of both, or those still in sight on either side of the cut."""
    if mix["how"] == "mixup":
        return [*own, *other]
    cut = rectangle(mix, height, width)
    return [*cover(own, *cut), *within(other, *cut)]


def share(mix: dict[str, Any], height: int, width: int) -> float:
    """λ of the pixels as they are: the rectangle's sides are whole pixels."""
    if mix["how"] == "mixup":
        return float(mix["share"])
    _, _, cut_width, cut_height = rectangle(mix, height, width)
    return 1 - cut_width * cut_height / (width * height)


def rectangle(mix: dict[str, Any], height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels."""
    left, right = round(mix["x"] * width), round((mix["x"] + mix["width"]) * width)
    top, bottom = round(mix["y"] * height), round((mix["y"] + mix["height"]) * height)
    return left, top, right - left, bottom - top


def _same_form(own: NDArray[Any], other: NDArray[Any]) -> None:
    if own.shape != other.shape:
        raise ValueError(f"only samples of one size and mode can be mixed, not {own.shape} with {other.shape}")
