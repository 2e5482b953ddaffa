"""Damaged image files of all formats, and what measure and render make of them: `python -m ...mutated FIRST STEP LAST`.

File n is the same in every run. The process that reads them has limits: of address space, and of time for each file,
after which the kernel ends it. It prints n before it starts on a file and one JSON line when it is done.
"""

import json
import resource
import signal
import sys
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from dsray.kinds.image import Undecodable, decode, measure, render
from tests.dsray.kinds.image.pictures import FORMATS, interlaced, photo, profile, saved
from tests.memory import peak

SPEC = {"side": 32, "mode": "RGB", "format": "png", "fit": "pad"}
ADDRESS_SPACE = 4 * 2**30
SECONDS = 30
TOLD = ("format", "truncated", "animated")
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 20_000, 100_000)


@cache
def whole_files() -> tuple[bytes, ...]:
    """Every format, in its variants."""
    colour, grey = Image.fromarray(photo(1, 40, 48)), Image.fromarray(photo(1, 40, 48, 1)[:, :, 0])
    clear = colour.convert("RGBA")
    clear.putalpha(grey)
    frames = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    said = {"exif": exif, "icc_profile": profile("Wide")}
    files = [saved(image, name) for name in FORMATS for image in (colour, grey)]
    files += [saved(colour, name, **said) for name in FORMATS if name not in ("gif", "bmp")]
    files += [saved(colour, "jpeg", progressive=True, **options) for options in ({}, said)]
    files += [saved(colour.convert("CMYK"), "jpeg"), saved(colour, "jpeg", subsampling=0, restart_marker_rows=1)]
    files += [saved(image, "png") for image in (clear, grey.convert("1"), colour.convert("P"), clear.convert("LA"))]
    files += [saved(Image.fromarray(np.asarray(grey).astype(np.uint16) << 8), name) for name in ("png", "tiff")]
    files += [interlaced(np.asarray(grey)), saved(colour.convert("P"), "png", transparency=3)]
    files += [saved(image, "webp", lossless=True) for image in (colour, clear)]
    files += [saved(colour, name, **frames) for name in ("gif", "webp", "png", "tiff")]
    files += [saved(colour, "gif", interlace=0), saved(grey.convert("1"), "bmp"), saved(colour.convert("P"), "bmp")]
    files += [saved(colour, "tiff", compression=f"tiff_{name}") for name in ("lzw", "adobe_deflate")]
    files += [saved(colour, "tiff", compression=name) for name in ("packbits", "jpeg", "zstd")]
    files += [saved(grey.convert("1"), "tiff", compression=name) for name in ("group3", "group4")]
    return tuple(files)


def mutated(number: int) -> bytes:
    """File `number`: one of the whole files, changed once to three times."""
    rng = np.random.default_rng([20_261_123, number])
    files = whole_files()
    data = bytearray(files[number % len(files)])
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 128)))
        size = int(rng.integers(1, 64))
        change = rng.integers(7)
        if change == 0:  # a few bytes
            for place in rng.integers(at, min(at + size, len(data)), 3):
                data[place] = rng.integers(256)
        elif change == 1:  # the end, never all
            del data[max(at, 16) :]
        elif change == 2:
            data[at:at] = rng.bytes(size)
        elif change == 3:  # a piece twice
            data[at:at] = data[at : at + 4 * size]
        elif change == 4:
            del data[at : at + size]
            data = data or bytearray(b"\0")
        elif change == 5:  # a field of two or four bytes
            width, order = int(rng.choice([2, 4])), str(rng.choice(["big", "little"]))
            value = EXTREMES[rng.integers(len(EXTREMES))] & (256**width - 1)
            data[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
        else:  # two files
            other = files[rng.integers(len(files))]
            data[at:] = other[int(rng.integers(len(other))) :]
            data = data or bytearray(b"\0")
    return checked(data) if rng.random() < 0.7 else bytes(data)


def checked(data: bytearray) -> bytes:
    """A PNG's checksums made right, so that damage gets past them."""
    at = 8
    while data.startswith(b"\x89PNG\r\n\x1a\n") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def outcome(payload: bytes) -> dict[str, Any]:
    """Why there is nothing, or the facts. Any other exception ends the process."""
    try:
        image = decode(payload)
    except Undecodable as undecodable:
        return {"error": undecodable.reason}
    facts = measure(image)
    media, _ = render(image, SPEC)
    return {"error": None, "side": decode(media).width, **{name: facts[name] for name in TOLD}}


def main(first: int, step: int, last: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in range(first, last, step):
        print(number, flush=True)
        signal.alarm(SECONDS)
        found = {"number": number, **outcome(mutated(number))}
        print(json.dumps(found | {"peak": peak()}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
