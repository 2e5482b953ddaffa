"""Raw bytes → the recipe's one canonical form: a square of one size, mode and format."""

from typing import Any

from PIL import Image, ImageOps

from dsray.kinds.image.codec import Undecodable, encode_image, upright

_ANTIALIASED = Image.Resampling.BICUBIC


def render(payload: bytes, spec: dict[str, Any]) -> bytes:
    """`spec`: side (pixels), mode (L or RGB), format (png, jpeg, webp), fit (pad with black, crop the middle, stretch).

    Shrinking is antialiased, as Pillow does it; an image of that form keeps its pixels. Raises Undecodable.
    """
    image = upright(payload)
    if image.mode != spec["mode"]:
        image = image.convert(spec["mode"])
    return encode_image(_fitted(image, spec["side"], spec["fit"]), spec["format"])


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
