"""Images for tests: smooth random photos, digits as thick strokes, and hypothesis strategies."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, features

from dsray.kinds import Object, image
from dsray.kinds.image.codec import Pixels
from dsray.stages.decode import seen

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", *(["avif"] if features.check("avif") else []))


def photo(seed: int, height: int = 96, width: int = 128, channels: int = 3) -> Pixels:
    """Smooth noise at several scales over the full range, [H, W, C]."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, channels))
    for cells in (3, 6, 12, 24):
        coarse = rng.normal(size=(cells, cells, channels)) / cells
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(total.shape)
    low, high = total.min(), total.max()
    return ((total - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


def measured(payload: bytes | None) -> dict[str, Any]:
    """A payload's whole fact row."""
    row: dict[str, Any] = dict.fromkeys(("error", "signature", *image.FACTS.names))
    return row | (seen(payload, image, {}, None).facts or {})


def in_form(payload: bytes, spec: dict[str, Any], objects: Sequence[Object] = ()) -> tuple[bytes, list[Object]]:
    """A payload rendered, and its objects there."""
    media, frame = image.render(image.decode(payload), spec)
    return media, image.place(objects, frame)


def saved(image: Image.Image | Pixels, format: str, **options: Any) -> bytes:
    """Encoded by Pillow alone."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image)
    out = io.BytesIO()
    image.save(out, format.upper(), **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def interlaced(grey_HW: Pixels) -> bytes:
    """A grey PNG in Adam7's seven passes, which Pillow reads and does not write."""
    height, width = grey_HW.shape
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in grey_HW[y::dy, x::dx]]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")


ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def profile(name: str, primaries: tuple[tuple[float, ...], ...] = ADOBE_RGB, gamma: float = 2.2) -> bytes:
    """An ICC profile, version 2: of RGB by its primaries in XYZ (D50), or of grey where there are none."""

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    text = name.encode() + b"\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
    }
    for letter, primary in zip(b"rgb", primaries, strict=False):
        tags |= {bytes([letter]) + b"XYZ": xyz(primary), bytes([letter]) + b"TRC": curve}
    if not primaries:
        tags[b"kTRC"] = curve
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for tag, body in tags.items():
        table += tag + struct.pack(">II", at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    space = b"RGB " if primaries else b"GRAY"
    header = struct.pack(">I4sI4s4s4s12x4s28x3i48x", at + len(data), b"", 0x02400000, b"mntr", space, b"XYZ ", b"acsp",
                         63190, 65536, 54061)  # fmt: skip
    return header + struct.pack(">I", len(tags)) + table + data


def printed_by_two_processes(script: str) -> set[bytes]:
    """What a script prints, run twice in fresh processes at the root of the repository."""
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[4]
    return {subprocess.run(command, capture_output=True, check=True, timeout=60, cwd=root).stdout for _ in range(2)}


def images(channels: int | None = None) -> st.SearchStrategy[Pixels]:
    """Any small image, [H, W, C]."""
    shape = st.tuples(st.integers(1, 24), st.integers(1, 24), st.sampled_from([channels] if channels else [1, 3]))
    return arrays(np.uint8, shape)
