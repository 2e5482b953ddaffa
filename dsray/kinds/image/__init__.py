"""Images: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF and AVIF. Pixels are uint8, grey or sRGB."""

from dsray.kinds.image.augment import apply, plan
from dsray.kinds.image.codec import Decoded, Undecodable, decode, encode, from_arrays, to_arrays
from dsray.kinds.image.features import features
from dsray.kinds.image.render import render, thumbnail
from dsray.kinds.image.signals import FACTS, FLAGS, MEANINGS, measure
from dsray.kinds.image.signature import orientations, signature

__all__ = [
    "FACTS",
    "FLAGS",
    "MEANINGS",
    "Decoded",
    "Undecodable",
    "apply",
    "decode",
    "encode",
    "features",
    "from_arrays",
    "measure",
    "orientations",
    "plan",
    "render",
    "signature",
    "thumbnail",
    "to_arrays",
]
