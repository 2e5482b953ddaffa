"""Bytes ↔ pixels. Any bytes at all are either an image or Undecodable with a reason.

Axes: N images, H height, W width, C channels (1 grey or 3 RGB). Pixels are uint8 in [0, 255].
"""

import io
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from PIL import features as built_with

from dsray.kinds import Undecodable
from dsray.kinds.image.profiles import moves, to_srgb

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""A larger image is refused by its header, before a pixel is decoded."""
MAX_SIDE = 65_535
"""JPEG's longest. Longer lines than this are no picture, and decoders of other formats allocate by the line."""
MAX_SCANS = 100
"""Of a JPEG. Encoders write up to a dozen; each one costs a pass over all pixels, even when it is empty."""
_SLOW = 2_000_000_000  # scans times pixels: some seconds
LEAST = 0.25
"""Share of its rows that a truncated file must hold to count as an image."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *(["AVIF"] if built_with.check("avif") else []))
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|GIF8|BM|II\*\x00|MM\x00\*|....ftyp(?:avi[fs]|m[is]f1.{0,60}avif)", re.DOTALL
)
_SVG = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:svg|[?!].*<svg)\b", re.DOTALL | re.IGNORECASE)
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 0x0142, 0x0143
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TELLING = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # where Pillow looks for an orientation
_TIFF = (b"II*\0", b"MM\0*")
_AS_STORED = {"L": cv2.IMREAD_GRAYSCALE, "RGB": cv2.IMREAD_COLOR_RGB}
_STDERR = Lock()

if "AVIF" in _FORMATS:
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Ray runs one task a core
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its warnings go to stderr when no logging is set up


@dataclass(frozen=True)
class Stored:
    """What a file says about its image."""

    format: str  # jpeg, png, webp, gif, bmp, tiff, avif
    mode: str  # Pillow's name of the stored mode: L, RGB, RGBA, P, CMYK, ...
    channels: int  # as stored: 4 for RGBA
    animated: bool  # more than one frame or page; the first one counts
    truncated: bool  # the file ends early; what it lacks is black, or grey in a JPEG
    transparent: bool  # some pixel is not opaque; it lies on white
    orientation: int  # EXIF's, 1 to 8; applied
    profile: str | None  # name of the ICC profile if it is not sRGB; applied


@dataclass(frozen=True)
class Decoded(Stored):
    """An image upright, in sRGB, on white where it was transparent; as an array, and as an image of Pillow."""

    held: Image.Image | Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        held = self.held
        return held.size if isinstance(held, Image.Image) else (held.shape[1], held.shape[0])

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def colour(self) -> str:
        """L or RGB."""
        held = self.held
        return held.mode if isinstance(held, Image.Image) else "L" if held.shape[2] == 1 else "RGB"

    @cached_property
    def image(self) -> Image.Image:
        return self.held if isinstance(self.held, Image.Image) else _image(self.held)

    @cached_property
    def pixels_HWC(self) -> Pixels:
        return pixels_of(self.held) if isinstance(self.held, Image.Image) else self.held


def decode(payload: bytes) -> Decoded:
    """Any bytes → an image, or raises Undecodable; no other exception, nothing on stderr. Its reason is one of empty,
    not_an_image, svg, truncated, broken, bomb (too large) and mode.

    Orientation from EXIF and colour profiles are applied. Of an animation the first frame counts.
    """
    held, stored = _open(payload)
    return Decoded(**vars(stored), held=held)


def encode(pixels_HWC: Pixels, format: str = "png", quality: int = 95) -> bytes:
    """Pixels, 1 or 3 channels → PNG, JPEG or WebP. The same pixels give the same bytes, with no metadata."""
    if format == "jpeg":
        return _jpeg(pixels_HWC, quality)
    return encode_image(_image(pixels_HWC), format, quality)


def encode_image(image: Image.Image, format: str, quality: int = 95) -> bytes:
    """A Pillow image of mode L or RGB → bytes."""
    if format == "jpeg":
        return _jpeg(pixels_of(image), quality)
    out = io.BytesIO()
    options = {"compress_level": 6} if format == "png" else {"quality": quality, "method": 4}
    image.save(out, format.upper(), **options)
    return out.getvalue()


_WHOLE_COLOUR = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


def _jpeg(pixels_HWC: Pixels, quality: int) -> bytes:
    """OpenCV writes the bytes that Pillow writes, in four fifths of its time."""
    stored = pixels_HWC if pixels_HWC.shape[2] == 1 else cv2.cvtColor(pixels_HWC, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", stored, (cv2.IMWRITE_JPEG_QUALITY, quality, *_WHOLE_COLOUR))[1].tobytes()


def to_arrays(media: Sequence[bytes]) -> Pixels:
    """N images of one size and mode → [N, H, W, C]. Raises ValueError when they differ, Undecodable for other bytes."""
    if not media:
        return np.zeros((0, 0, 0, 1), np.uint8)
    return np.stack([decode(payload).pixels_HWC for payload in media])


def from_arrays(images_NHWC: Pixels) -> list[bytes]:
    """[N, H, W, C] → N PNGs."""
    return [encode(pixels_HWC) for pixels_HWC in images_NHWC]


def _image(pixels_HWC: Pixels) -> Image.Image:
    return Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)


def pixels_of(image: Image.Image) -> Pixels:
    """A Pillow image of mode L or RGB → [H, W, C]."""
    if image.mode == "L":
        return np.asarray(image, np.uint8)[:, :, None]
    try:
        rgbx_N = pa.array(image).values.to_numpy()  # Pillow's own memory; np.asarray would pack it line by line
    except (TypeError, ValueError, pa.ArrowInvalid):  # an older Pillow, or an image in several blocks
        return np.asarray(image, np.uint8)
    return np.asarray(cv2.cvtColor(rgbx_N.reshape(image.height, image.width, 4), cv2.COLOR_RGBA2RGB), np.uint8)


def _open(payload: bytes) -> tuple[Image.Image | Pixels, Stored]:
    if not payload:
        raise Undecodable("empty")
    quiet = _stderr_aside() if payload.startswith(_TIFF) else nullcontext()
    try:
        with quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata, and sizes that are refused below
            return _read(payload)
    except Undecodable:
        raise
    except Image.DecompressionBombError as error:
        raise Undecodable("bomb") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise Undecodable(_why(payload, error)) from error


def _read(payload: bytes) -> tuple[Image.Image | Pixels, Stored]:
    _refuse_canvas(payload)
    with Image.open(io.BytesIO(payload), formats=_FORMATS) as image:
        _refuse_bombs(payload, image)
        name, mode, channels, animated = image.format or "", image.mode, len(image.getbands()), _animated(image)
        turn = _orientation(image) if name == "TIFF" else 1  # Pillow turns a TIFF when it loads it
        if name == "JPEG" and (pixels_HWC := _plain(payload, image)) is not None:
            return pixels_HWC, Stored("jpeg", mode, channels, animated, False, False, 1, None)
        try:
            image.load()
            loaded: Image.Image = image
            truncated = False
        except Exception as error:
            if _why(payload, error) != "truncated":
                raise
            loaded, truncated = _salvaged(payload, image), True
        if name != "TIFF":
            turn = _orientation(loaded)  # only now: a PNG may have its EXIF behind the pixels
            loaded = loaded.transpose(_TURNS[turn]) if turn in _TURNS else loaded
        flat, transparent, profile = _flat(loaded, image.info.get("icc_profile"))
    format = {"MPO": "jpeg"}.get(name, name.lower())
    return flat, Stored(format, mode, channels, animated, truncated, transparent, turn, profile)


def _plain(payload: bytes, image: Image.Image) -> Pixels | None:
    """The pixels of a JPEG that needs nothing but decoding: whole, L or RGB, upright, sRGB. OpenCV makes those that
    Pillow makes, sooner and as an array. None where libjpeg complained: Pillow knows how much is lost."""
    if image.mode not in _AS_STORED or _orientation(image) != 1 or _short(payload):
        return None
    if moves(image.info.get("icc_profile"), image.mode):
        return None
    how = _AS_STORED[image.mode] | cv2.IMREAD_IGNORE_ORIENTATION
    with _stderr_aside() as aside:
        pixels: Any = cv2.imdecode(np.frombuffer(payload, np.uint8), how)
        complained = os.fstat(aside).st_size > 0
    return None if complained or pixels is None else pixels.reshape(image.height, image.width, -1)


def _refuse_canvas(payload: bytes) -> None:
    """A WebP's, which Pillow allocates when it opens the file."""
    if payload.startswith(b"RIFF") and payload[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(payload[at : at + 3], "little") for at in (24, 27))
        if width * height > MAX_PIXELS:
            raise Undecodable("bomb")


def _refuse_bombs(payload: bytes, image: Image.Image) -> None:
    sizes = [image.size]
    if image.format == "TIFF":  # libtiff allocates whole tiles
        tags = image.getexif()
        sizes.append((tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)))
    if any(width * height > MAX_PIXELS or max(width, height) > MAX_SIDE for width, height in sizes):
        raise Undecodable("bomb")
    may_be_slow = len(payload) * image.width * image.height > 10 * _SLOW  # a scan takes 10 bytes at least
    if image.format in ("JPEG", "MPO") and may_be_slow and payload.count(b"\xff\xda") > MAX_SCANS:
        raise Undecodable("bomb")


def _animated(image: Image.Image) -> bool:
    """Whether there is a second frame or page, of which nothing is decoded. A JPEG's others are previews or depths."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damage behind the first frame
        return False


def _orientation(image: Image.Image) -> int:
    if image.format != "TIFF" and not image.info.keys() & _TELLING:
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata beside whole pixels: take them as they lie
        return 1
    return turn if isinstance(turn, int) and turn in _TURNS else 1


def _salvaged(payload: bytes, image: Any) -> Image.Image:
    """The image of a file that ends early. Raises Undecodable where that is hardly one."""
    if payload.startswith(b"\xff\xd8"):
        image = _ended(payload)
    elif _interlaced(image) or image.size != image.im.size:  # holes all over; a TIFF that lies on its side
        raise Undecodable("truncated")
    else:
        image.tile = []  # nothing more to read: it keeps what the decoder wrote before it failed
        image.load()
    rows = np.asarray(image)[:: -1 if image.format == "BMP" else 1].reshape(image.height, -1, len(image.getbands()))
    held = np.flatnonzero((rows != rows[-1, -1]).any(axis=(1, 2)))  # what is missing is one colour
    if not held.size or held[-1] + 1 < LEAST * len(rows):
        raise Undecodable("truncated")
    return image  # type: ignore[no-any-return]


def _ended(payload: bytes) -> Image.Image:
    """A JPEG with an end: libjpeg fills in what lacks. The cut may lie within the tables or the head of a scan."""
    for end in (len(payload), payload.rfind(b"\xff\xc4"), payload.rfind(b"\xff\xda")):
        with suppress(OSError, SyntaxError):
            image = Image.open(io.BytesIO(payload[:end] + b"\xff\xd9"), formats=_FORMATS)
            image.load()
            return image
    raise Undecodable("truncated")


def _interlaced(image: Any) -> bool:
    return bool(image.tile[0].args[1] if image.format == "GIF" else image.info.get("interlace"))


@contextmanager
def _stderr_aside() -> Iterator[int]:
    """What libtiff and libjpeg write straight to file descriptor 2 lands in the file that this yields, empty at first.
    One thread at a time may turn it away."""
    with _STDERR:
        aside, saved = _aside(os.getpid()), os.dup(2)
        try:
            os.dup2(aside, 2)
            yield aside
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            if os.fstat(aside).st_size:
                os.ftruncate(aside, 0)
                os.lseek(aside, 0, os.SEEK_SET)


@cache
def _aside(process: int) -> int:
    """A nameless file of a process of its own: forks would share its end."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _flat(image: Image.Image, icc: Any) -> tuple[Image.Image, bool, str | None]:
    """Any mode → L or RGB in sRGB; whether any pixel is not opaque (it lies on white); the profile's name.

    Raises Undecodable("mode") where 8 bits have no clear meaning.
    """
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise Undecodable("mode")
    transparent = False
    if image.mode in _DEEP:
        deep_HW = np.asarray(image)
        clear_HW = deep_HW == image.info.get("transparency", -1)
        transparent = bool(clear_HW.any())
        image = Image.fromarray(np.where(clear_HW, 255, deep_HW >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        rgba = image.convert("RGBA")
        transparent = rgba.getchannel("A").getextrema()[0] != 255
        if transparent:
            rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        image = rgba.convert("L" if grey else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    image, profile = to_srgb(image, icc)
    return (image.convert("RGB") if image.mode == "CMYK" else image), transparent, profile


def _why(payload: bytes, error: Exception) -> str:
    if _SVG.match(payload[:4096]):
        return "svg"
    if not _MAGIC.match(payload):
        return "not_an_image"
    return "truncated" if "truncated" in str(error).lower() or _short(payload) else "broken"


def _short(payload: bytes) -> bool:
    """Whether the file ends before its own format says that it does."""
    if payload.startswith(b"RIFF"):
        return len(payload) < 8 + int.from_bytes(payload[4:8], "little")
    if payload.startswith(b"BM"):
        return len(payload) < int.from_bytes(payload[2:6], "little")
    if payload.startswith(_TIFF):  # the directory's place; data that is missing before it cannot be told from damage
        return len(payload) < 8 + int.from_bytes(payload[4:8], "little" if payload.startswith(b"II") else "big")
    if payload[4:8] == b"ftyp":
        at = 0
        while at + 8 <= len(payload) and (size := int.from_bytes(payload[at : at + 4], "big")) >= 8:
            at += size
        return at > len(payload)
    end = {b"\xff": b"\xff\xd9", b"\x89": b"IEND\xaeB`\x82", b"G": b";"}[payload[:1]]
    return not payload.rstrip(b"\0").endswith(end)
