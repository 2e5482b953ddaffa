"""Keyed augmentation: a plan in numbers, then every geometric step in one warp and every tone step in one table.

Axes: N rows, D draws, H height, W width, C channels.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from dsray import rng
from dsray.collection import Model
from dsray.kinds.image import damage, geometry, mix, noise, tones
from dsray.kinds.image.codec import Pixels, decode, encode
from dsray.kinds.image.objects import Object, cover, move

cv2.setNumThreads(1)  # Ray runs one task a core
np.empty(16 << 20, np.uint8)  # glibc keeps what is freed up to twice the largest block freed: no page faults per image

Share = Annotated[float, Field(ge=0, le=1)]

_DIGITS = 6
"""Parameters are rounded, so that they survive JSON exactly in any language."""

_DRAWS = (
    "rotate", "scale", "shift_x", "shift_y", "shear", "brightness", "contrast", "flip", "vertical_flip",
    "crop", "crop_x", "crop_y", *(f"corner_{index}" for index in range(8)),
    "hue", "saturation", "gamma", "blur", "cutout_x", "cutout_y", "jpeg", "mix", "mix_x", "mix_y",
)  # fmt: skip
"""The place of each number among a row's draws. Only ever append: a place that moves changes every sample."""


class Augment(Model):
    """Transforms of training samples, all geometric steps in one warp. What is left out does not act."""

    rotate: float = Field(0, ge=0, le=180, description="Degrees, either way.")
    scale: tuple[float, float] = Field((1, 1), description="Range of the scale.")
    translate: Share = Field(0, description="Share of the side, either way.")
    shear: float = Field(0, ge=0, le=45, description="Degrees, either way.")
    flip: bool = Field(False, description="Mirror left and right, half of the time.")
    vertical_flip: bool = Field(False, description="Mirror top and bottom, half of the time.")
    crop: tuple[float, float] = Field((1, 1), description="Range of the area that a random crop keeps.")
    perspective: float = Field(0, ge=0, le=0.2, description="Share of the side that each corner may move.")
    border: Literal["mirror", "black"] = Field("mirror", description="What is seen beyond the image's border.")
    brightness: Share = Field(0, description="Share of the range, either way.")
    contrast: Share = Field(0, description="Share, either way.")
    gamma: tuple[float, float] = Field((1, 1), description="Range of the exponent; below 1 is brighter.")
    hue: float = Field(0, ge=0, le=180, description="Degrees of the colour circle, either way.")
    saturation: Share = Field(0, description="Share, either way.")
    blur: float = Field(0, ge=0, le=50, description="Largest standard deviation of a Gaussian blur, pixels.")
    cutout: Share = Field(0, description="Side of an erased square, share of the shorter side.")
    noise: Share = Field(0, description="Standard deviation of Gaussian noise, share of the range.")
    salt_pepper: Share = Field(0, description="Share of pixels made white or black.")
    jpeg: tuple[int, int] | None = Field(None, description="Range of quality, 1 to 100, of JPEG artefacts.")
    mixup: Share = Field(0, description="Probability of being blended with another row.")
    cutmix: Share = Field(0, description="Probability of a rectangle of another row.")

    @field_validator("scale", "gamma")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 < limits[0] <= limits[1]:
            raise ValueError("needs 0 < low <= high")
        return limits

    @field_validator("crop")
    @classmethod
    def _some_area(cls, crop: tuple[float, float]) -> tuple[float, float]:
        if not 0 < crop[0] <= crop[1] <= 1:
            raise ValueError("needs 0 < low <= high <= 1")
        return crop

    @field_validator("jpeg")
    @classmethod
    def _a_quality(cls, jpeg: tuple[int, int] | None) -> tuple[int, int] | None:
        if jpeg and not 1 <= jpeg[0] <= jpeg[1] <= 100:
            raise ValueError("needs 1 <= low <= high <= 100")
        return jpeg

    @model_validator(mode="after")
    def _one_mix_a_row(self) -> "Augment":
        if self.mixup + self.cutmix > 1:
            raise ValueError(f"mixup + cutmix is {self.mixup + self.cutmix:g}, more than 1: a row is mixed once")
        return self


def plan(spec: dict[str, Any], seed: int, ids: Sequence[str], copy: int) -> list[dict[str, Any]]:
    """The transform of each row's copy, a pure function of (seed, row id, copy).

    `spec`: the fields of Augment. A row's parameters hold only what acts; `noise_seed` is below 2^53.
    """
    row_N = rng.keys_of(ids)
    u = dict(zip(_DRAWS, rng.uniform(seed, "augment", row_N, copy, draws=len(_DRAWS)).T, strict=True))
    columns = _moves(spec, u) | _tones(spec, u) | _damage(spec, u)
    if spec.get("noise") or spec.get("salt_pepper"):  # 53 bits: exact in any JSON
        columns["noise_seed"] = (rng.bits(seed, "augment/noise", row_N, copy)[:, 0] >> np.uint64(11)).tolist()
    if spec.get("mixup") or spec.get("cutmix"):
        own_N = _rounded(mix.shares(rng.uniform(seed, "augment/mix", row_N, copy, draws=mix.DRAWS)))
        columns["mix"] = _mixes(spec, u, own_N)
    rows = range(len(ids))
    return [{name: values[row] for name, values in columns.items() if values[row] is not None} for row in rows]


def apply(
    media: bytes,
    params: dict[str, Any],
    objects: Sequence[Object] = (),
    partner: tuple[bytes, Sequence[Object]] | None = None,
    own: Sequence[Callable[[Pixels], Pixels]] = (),
) -> tuple[bytes, list[Object]]:
    """An encoded sample and its objects → their transformed copy in the same format.

    `own`: steps of the recipe's, on the transformed pixels, before the mixing. `partner`: the other sample, as
    rendered, of a row whose parameters say `mix`. Raises Undecodable; ValueError when that partner is missing or of
    another size or mode.
    """
    image = decode(media)
    height, width = image.height, image.width
    pixels_HWC, moved = transform(image.pixels_HWC, params), transform_objects(objects, params, height, width)
    for step in own:
        pixels_HWC = step(pixels_HWC)
    if how := params.get("mix"):
        if partner is None:
            raise ValueError(f"the row's plan is {how['how']}, so it needs a partner")
        pixels_HWC = mix.pixels(pixels_HWC, decode(partner[0]).pixels_HWC, how)
        moved = mix.objects(moved, partner[1], how, height, width)
    return encode(pixels_HWC, image.format), moved


def transform(pixels_HWC: Pixels, params: dict[str, Any]) -> Pixels:
    """All but the mixing: one warp, one table, one pass of colour; blur, cutout, noise; at last JPEG."""
    out = geometry.warp(pixels_HWC, params)
    if tone := {name: params[name] for name in ("brightness", "contrast", "gamma") if name in params}:
        out = np.asarray(cv2.LUT(out, tones.table(**tone)), np.uint8).reshape(pixels_HWC.shape)
    if "hue" in params or "saturation" in params:
        out = tones.colour(out, params.get("hue", 0), params.get("saturation", 0))
    if "blur" in params:
        out = damage.blur(out, params["blur"])
    if "cutout" in params:
        out = damage.cutout(out, *params["cutout"])
    if "noise" in params:
        out = noise.gaussian(out, params["noise"], params["noise_seed"])
    if "salt_pepper" in params:
        out = noise.salt_and_pepper(out, params["salt_pepper"], params["noise_seed"])
    return damage.jpeg(out, params["jpeg"]) if "jpeg" in params else out


def transform_mask(
    mask_HW: NDArray[Any], params: dict[str, Any], partner_HW: NDArray[Any] | None = None
) -> NDArray[Any]:
    """A mask of classes moved with the pixels, by the nearest pixel, 0 beyond the border; cutmix pastes the partner's.

    Blended pixels (mixup) keep the row's own mask.
    """
    moved_HW = geometry.warp_mask(mask_HW, params)
    how = params.get("mix")
    if partner_HW is None or not how or how["how"] == "mixup":
        return moved_HW
    return mix.pasted(moved_HW, partner_HW, how)


def transform_objects(objects: Sequence[Object], params: dict[str, Any], height: int, width: int) -> list[Object]:
    """Boxes and polygons moved with the pixels; what leaves the image or is hidden by the cutout is gone."""
    moved = list(objects)
    if moved and geometry.STEPS & params.keys():
        moved = move(moved, geometry.homography(params, height, width), width, height)
    if moved and "cutout" in params:
        x, y, share = params["cutout"]
        left, top, side = damage.square(x, y, share, height, width)
        moved = cover(moved, left, top, side, side)
    return moved


Draws = dict[str, NDArray[np.float64]]
Columns = dict[str, list[Any]]


def _moves(spec: dict[str, Any], u: Draws) -> Columns:
    columns: Columns = {}
    for name, source in (("rotate", "rotate"), ("shear", "shear"), ("shift_x", "translate"), ("shift_y", "translate")):
        if spec.get(source):
            columns[name] = _either_way(spec[source], u[name])
    if _acts(spec, "scale"):
        columns["scale"] = _within(spec["scale"], u["scale"])
    for name in ("flip", "vertical_flip"):
        if spec.get(name):
            columns[name] = [True if draw < 0.5 else None for draw in u[name]]
    if _acts(spec, "crop"):
        side_N = np.sqrt(spec["crop"][0] + (spec["crop"][1] - spec["crop"][0]) * u["crop"])
        room_N = 1 - side_N
        columns["crop"] = _rounded(np.column_stack([room_N * u["crop_x"], room_N * u["crop_y"], side_N]))
    if spec.get("perspective"):
        u_N8 = np.column_stack([u[f"corner_{index}"] for index in range(8)])
        columns["corners"] = _either_way(spec["perspective"], u_N8)
    if columns and spec.get("border") == "black":
        columns["border"] = ["black"] * len(u["rotate"])
    return columns


def _tones(spec: dict[str, Any], u: Draws) -> Columns:
    names = [name for name in ("brightness", "contrast", "hue", "saturation") if spec.get(name)]
    columns = {name: _either_way(spec[name], u[name]) for name in names}
    return columns | ({"gamma": _within(spec["gamma"], u["gamma"])} if _acts(spec, "gamma") else {})


def _damage(spec: dict[str, Any], u: Draws) -> Columns:
    count = len(u["blur"])
    columns: Columns = {name: [round(float(spec[name]), _DIGITS)] * count for name in _FIXED if spec.get(name)}
    if spec.get("blur"):
        columns["blur"] = _within((0, spec["blur"]), u["blur"])
    if spec.get("cutout"):
        side_N = np.full(count, spec["cutout"])
        columns["cutout"] = _rounded(np.column_stack([u["cutout_x"], u["cutout_y"], side_N]))
    if spec.get("jpeg"):
        low, high = spec["jpeg"]
        columns["jpeg"] = (low + np.floor((high - low + 1) * u["jpeg"])).astype(int).tolist()
    return columns


def _mixes(spec: dict[str, Any], u: Draws, own_N: list[float]) -> list[dict[str, Any] | None]:
    until_mixup = spec.get("mixup", 0)
    until_cutmix = until_mixup + spec.get("cutmix", 0)
    return [
        mix.mixup(own) if draw < until_mixup else mix.cutmix(own, x, y) if draw < until_cutmix else None
        for own, draw, x, y in zip(own_N, u["mix"], u["mix_x"], u["mix_y"], strict=True)
    ]


_FIXED = ("noise", "salt_pepper")
"""Strengths that are the same for every row."""


def _acts(spec: dict[str, Any], name: str) -> bool:
    """Whether a range is more than the number that changes nothing."""
    return tuple(spec.get(name) or (1, 1)) != (1, 1)


def _either_way(reach: float, u: NDArray[np.float64]) -> list[Any]:
    return _rounded(reach * (2 * u - 1))


def _within(limits: Sequence[float], u_N: NDArray[np.float64]) -> list[Any]:
    return _rounded(limits[0] + (limits[1] - limits[0]) * u_N)


def _rounded(values: NDArray[np.float64]) -> list[Any]:
    rounded: list[Any] = (np.round(values, _DIGITS) + 0.0).tolist()  # + 0.0: no -0.0
    return rounded
