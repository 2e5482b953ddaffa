"""Bytes ↔ pixels. Any bytes at all are either an image or Undecodable with a reason.

Axes: N images, H height, W width, C channels (1 grey or 3 RGB). Pixels are uint8 in [0, 255].
"""

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""A larger image is refused by its header, before a pixel is decoded."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|GIF8|BM|II\*\x00|MM\x00\*", re.DOTALL)
_SVG = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:svg|[?!].*<svg)\b", re.DOTALL | re.IGNORECASE)
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112
_TIFF = (b"II*\0", b"MM\0*")
_STDERR = Lock()

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its warnings go to stderr when no logging is set up


class Undecodable(Exception):
    """No image that dsray reads. `reason`: empty, not_an_image, svg, truncated, broken, bomb (too large) or mode."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """An image upright, on white where it was transparent."""

    pixels_HWC: Pixels
    format: str  # jpeg, png, webp, gif, bmp, tiff
    mode: str  # Pillow's name of the stored mode: L, RGB, RGBA, P, CMYK, ...
    channels: int  # as stored: 4 for RGBA

    @property
    def height(self) -> int:
        return int(self.pixels_HWC.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels_HWC.shape[1])


def decode(payload: bytes) -> Decoded:
    """Any bytes → an image, or raises Undecodable; no other exception, nothing on stderr.

    Orientation from EXIF is applied; colour profiles are not. Of an animation the first frame counts.
    """
    image, name, mode, channels = _open(payload)
    pixels = np.asarray(image, np.uint8)
    return Decoded(pixels[:, :, None] if pixels.ndim == 2 else pixels, name, mode, channels)


def upright(payload: bytes) -> Image.Image:
    """Like decode, as a Pillow image of mode L or RGB."""
    return _open(payload)[0]


def encode(pixels_HWC: Pixels, format: str = "png") -> bytes:
    """Pixels, 1 or 3 channels → PNG, JPEG or WebP. The same pixels give the same bytes, with no metadata."""
    return encode_image(Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC), format)


_OPTIONS = {
    "png": {"compress_level": 6},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95, "method": 4},
}


def encode_image(image: Image.Image, format: str) -> bytes:
    """A Pillow image of mode L or RGB → bytes."""
    out = io.BytesIO()
    image.save(out, format.upper(), **_OPTIONS[format])
    return out.getvalue()


def to_arrays(media: Sequence[bytes]) -> Pixels:
    """N images of one size and mode → [N, H, W, C]. Raises ValueError when they differ, Undecodable for other bytes."""
    if not media:
        return np.zeros((0, 0, 0, 1), np.uint8)
    return np.stack([decode(payload).pixels_HWC for payload in media])


def from_arrays(images_NHWC: Pixels) -> list[bytes]:
    """[N, H, W, C] → N PNGs."""
    return [encode(pixels_HWC) for pixels_HWC in images_NHWC]


def _open(payload: bytes) -> tuple[Image.Image, str, str, int]:
    if not payload:
        raise Undecodable("empty")
    quiet = _without_stderr() if payload.startswith(_TIFF) else nullcontext()
    try:
        with quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata, and sizes that are refused below
            with Image.open(io.BytesIO(payload), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Undecodable("bomb")
                name, mode, channels = image.format or "", image.mode, len(image.getbands())
                image.load()
                return _flat(_turned(image)), {"MPO": "jpeg"}.get(name, name.lower()), mode, channels
    except Undecodable:
        raise
    except Image.DecompressionBombError as error:
        raise Undecodable("bomb") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise Undecodable(_why(payload, error)) from error


@contextmanager
def _without_stderr() -> Iterator[None]:
    """libtiff writes its errors straight to file descriptor 2; one thread at a time may turn that away."""
    with _STDERR, open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device, not a path
        saved = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _turned(image: Image.Image) -> Image.Image:
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata beside whole pixels: take them as they lie
        return image
    return ImageOps.exif_transpose(image) if turn in range(2, 9) else image


def _flat(image: Image.Image) -> Image.Image:
    """Any mode → L or RGB, transparency on white. Raises Undecodable("mode") where 8 bits have no clear meaning."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in _DEEP:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Undecodable("mode")
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        rgba = image.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return flat.convert("L" if grey else "RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def _why(payload: bytes, error: Exception) -> str:
    if _SVG.match(payload[:4096]):
        return "svg"
    if not _MAGIC.match(payload):
        return "not_an_image"
    return "truncated" if "truncated" in str(error) or _short(payload) else "broken"


def _short(payload: bytes) -> bool:
    """Whether the file ends before its own format says that it does."""
    if payload.startswith(b"RIFF"):
        return len(payload) < 8 + int.from_bytes(payload[4:8], "little")
    if payload.startswith(b"BM"):
        return len(payload) < int.from_bytes(payload[2:6], "little")
    if payload.startswith(_TIFF):  # the directory's place; data that is missing before it cannot be told from damage
        return len(payload) < 8 + int.from_bytes(payload[4:8], "little" if payload.startswith(b"II") else "big")
    end = {b"\xff": b"\xff\xd9", b"\x89": b"IEND\xaeB`\x82", b"G": b";"}[payload[:1]]
    return not payload.rstrip(b"\0").endswith(end)
