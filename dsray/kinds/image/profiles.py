"""ICC colour profiles: pixels of any profile → sRGB. A profile that is broken, or for another mode, counts as none."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_MAX_BYTES = 4 * 2**20
_SAME = 2
"""Grey levels by which a profile may move a colour and still be sRGB: makers round its curve and white differently."""


def to_srgb(image: Image.Image, profile: Any) -> tuple[Image.Image, str | None]:
    """An image of mode L, RGB or CMYK → the image in sRGB (CMYK as RGB), and the profile's name if it is not sRGB."""
    known = _known(profile, image.mode)
    if known is None:
        return image, None
    transform, name = known
    out = ImageCms.applyTransform(image, transform)
    return (image if out is None else out.convert("L") if image.mode == "L" else out), name


def moves(profile: Any, mode: str) -> bool:
    """Whether the profile says that pixels of that mode are not sRGB."""
    return _known(profile, mode) is not None


def _known(profile: Any, mode: str) -> tuple[ImageCms.ImageCmsTransform, str] | None:
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_BYTES:
        return None
    return _transform(profile, mode)


@lru_cache(maxsize=8)
def _transform(icc: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform, str] | None:
    """(the way to sRGB, the profile's name), or None where there is nothing to do."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if _MODES.get(profile.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        moved = np.asarray(ImageCms.applyTransform(probe, transform), int)
        name = ImageCms.getProfileDescription(profile)
    except Exception:  # a stranger's bytes
        return None
    if mode != "CMYK" and np.abs(moved - np.asarray(probe.convert("RGB"), int)).max() <= _SAME:
        return None
    name = "".join(letter for letter in name if letter.isprintable()).strip()[:80]
    return transform, name or "unnamed"


def _probe(mode: str) -> Image.Image:
    """Colours from all over a mode's range."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), axis=-1)
    return Image.frombytes(mode, (grid[..., 0].size, 1), grid.tobytes())
