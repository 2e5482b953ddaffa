"""Images side by side in one PNG: what a person looks at first."""

import io
import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", *(["AVIF"] if features.check("avif") else []))
_MAX_PIXELS = 64_000_000
_EMPTY = (128, 128, 128, 60)  # a cell whose image is missing or cannot be read


def grid(images: Sequence[bytes] | Pixels, columns: int, scale: int = 4, gap: int = 1) -> bytes:
    """Encoded images, or uint8 [N, H, W] or [N, H, W, C] with C in 1, 3, 4, row by row → one PNG.

    The gaps (in unscaled pixels) are transparent; enlarging repeats pixels. Bytes that cannot be read are a grey cell;
    images of different sizes are centred in cells of the largest. Raises ValueError without images or columns.
    """
    if len(images) == 0 or columns < 1 or scale < 1:
        raise ValueError("a grid needs images, columns and a scale of at least 1")
    cells = [_rgba(image) if isinstance(image, np.ndarray) else _decoded(image) for image in images]
    shapes = [cell.shape for cell in cells if cell is not None] or [(28, 28, 4)]
    height, width = max(s[0] for s in shapes), max(s[1] for s in shapes)
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for i, cell in enumerate(cells):
        y, x = (i // columns) * (height + gap), (i % columns) * (width + gap)
        if cell is None:
            sheet[y : y + height, x : x + width] = _EMPTY
        else:
            y, x = y + (height - cell.shape[0]) // 2, x + (width - cell.shape[1]) // 2
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return _png(Image.fromarray(sheet.repeat(scale, axis=0).repeat(scale, axis=1)))


def thumbnail(payload: bytes, side: int = 72) -> bytes | None:
    """Any raster image → a PNG of at most `side` pixels, small ones enlarged by whole factors; None if unreadable."""
    pixels = _decoded(payload)
    if pixels is None:
        return None
    image = Image.fromarray(pixels)
    factor = side // max(image.size)
    if factor >= 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    else:
        image.thumbnail((side, side))
    return _png(image)


def _decoded(payload: bytes) -> Pixels | None:
    """Bytes → RGBA pixels [H, W, 4]; None for what is no image, is damaged, or would be too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(payload), formats=FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    return None
                return np.asarray(image.convert("RGBA"), np.uint8)
    except Exception:  # decoders raise nearly anything on damaged bytes; a report shows an empty cell instead
        return None


def _rgba(pixels: Pixels) -> Pixels:
    """uint8 [H, W] or [H, W, C] → [H, W, 4]."""
    if pixels.dtype != np.uint8:
        raise ValueError(f"a grid takes uint8 pixels, not {pixels.dtype}")
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
    return np.asarray(image.convert("RGBA"), np.uint8)


def _png(image: Image.Image) -> bytes:
    """As few bytes as the content allows: grey where it is grey, no alpha where all is opaque."""
    pixels = np.asarray(image)
    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    opaque = bool((pixels[..., 3] == 255).all())
    out = io.BytesIO()
    image.convert(("L" if grey else "RGB") + ("" if opaque else "A")).save(out, "PNG", optimize=True)
    return out.getvalue()
