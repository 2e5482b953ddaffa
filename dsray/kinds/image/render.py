"""Raw bytes → the recipe's one canonical form: a square of one size, mode and format."""

from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image, ImageOps
from pydantic import Field

from dsray.collection import Model
from dsray.kinds import Marked, Object
from dsray.kinds.image.codec import Undecodable, encode_image, upright

_ANTIALIASED = Image.Resampling.BICUBIC


class Render(Model):
    """The one form that all samples get."""

    side: int = Field(64, ge=4, le=4096, description="Pixels of both sides.")
    mode: Literal["L", "RGB"] = Field("RGB", description="Grey or colour.")
    format: Literal["png", "jpeg", "webp"] = Field("png", description="Encoding; png is lossless.")
    fit: Literal["pad", "crop", "stretch"] = Field("pad", description="How another aspect becomes a square.")


def extension(spec: dict[str, Any]) -> str:
    """The ending of a rendered image's file name."""
    return str(spec["format"])


def render(payload: bytes, spec: dict[str, Any], objects: Sequence[Object] = ()) -> Marked:
    """`spec`: side (pixels), mode (L or RGB), format (png, jpeg, webp), fit (pad with black, crop the middle, stretch).

    Shrinking is antialiased, as Pillow does it; an image of that form keeps its pixels. Raises Undecodable.
    """
    image = upright(payload)
    if image.mode != spec["mode"]:
        image = image.convert(spec["mode"])
    return encode_image(_fitted(image, spec["side"], spec["fit"]), spec["format"]), list(objects)


def thumbnail(payload: bytes, side: int) -> bytes | None:
    """A PNG of at most `side` pixels a side, or None when the payload is no image."""
    try:
        image = upright(payload)
    except Undecodable:
        return None
    image.thumbnail((side, side), _ANTIALIASED)
    return encode_image(image, "png")


def _fitted(image: Image.Image, side: int, fit: str) -> Image.Image:
    size = (side, side)
    if image.size == size:
        return image
    if fit == "pad":
        return ImageOps.pad(image, size, _ANTIALIASED, color=0)
    if fit == "crop":
        return ImageOps.fit(image, size, _ANTIALIASED)
    return image.resize(size, _ANTIALIASED)
