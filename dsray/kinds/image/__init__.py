"""Images: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF and AVIF. Pixels are uint8, grey or sRGB."""

from dsray.kinds import Undecodable
from dsray.kinds.image.augment import Augment, apply, plan
from dsray.kinds.image.codec import Decoded, decode, encode, from_arrays, to_arrays
from dsray.kinds.image.features import features
from dsray.kinds.image.render import Render, extension, place, render, thumbnail
from dsray.kinds.image.signals import BOUNDS, FACTS, FLAGS, MEANINGS, measure
from dsray.kinds.image.signature import orientations, signature

QUALITY = "side"
COLUMN = "image"
FEATURE = {"_type": "Image"}

__all__ = [
    "BOUNDS",
    "COLUMN",
    "FACTS",
    "FEATURE",
    "FLAGS",
    "MEANINGS",
    "QUALITY",
    "Augment",
    "Decoded",
    "Render",
    "Undecodable",
    "apply",
    "decode",
    "encode",
    "extension",
    "features",
    "from_arrays",
    "measure",
    "orientations",
    "place",
    "plan",
    "render",
    "signature",
    "thumbnail",
    "to_arrays",
]
