"""Images: JPEG, PNG, WebP, GIF (first frame), BMP and TIFF. Pixels are uint8, grey or RGB."""

from dsray.kinds.image.augment import apply, plan
from dsray.kinds.image.codec import Decoded, Undecodable, decode, encode, from_arrays, to_arrays
from dsray.kinds.image.render import render, thumbnail
from dsray.kinds.image.signals import FACTS, MEANINGS, measure
from dsray.kinds.image.signature import signature

__all__ = [
    "FACTS",
    "MEANINGS",
    "Decoded",
    "Undecodable",
    "apply",
    "decode",
    "encode",
    "from_arrays",
    "measure",
    "plan",
    "render",
    "signature",
    "thumbnail",
    "to_arrays",
]
