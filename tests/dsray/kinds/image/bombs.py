"""Small files that claim to be huge."""

import io
import struct
import zlib

from PIL import Image

from tests.dsray.kinds.image.pictures import chunk


def png(*chunks: bytes, side: int = 8) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


def bmp(width: int, height: int, data: bytes) -> bytes:
    """Eight bits, run-length encoded."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(data), 0, 0, 14 + 40 + 1024) + info + bytes(1024) + data


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    canvas = b"VP8X" + struct.pack("<IB3x", 10, 2) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas


def tiff(*changes: tuple[int, int]) -> bytes:
    """A small compressed TIFF with some tags' values replaced, or added in the place of one that nobody needs."""
    image = Image.new("L", (8, 8))
    out = io.BytesIO()
    image.save(out, "TIFF", compression="tiff_lzw", tiffinfo={65_000 + n: 1 for n in range(len(changes))})
    payload = bytearray(out.getvalue())
    at = struct.unpack_from("<I", payload, 4)[0]
    entries = [bytes(payload[at + 2 + 12 * n :][:12]) for n in range(struct.unpack_from("<H", payload, at)[0])]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] not in {tag for tag, _ in changes}]
    entries = [*entries, *(struct.pack("<HHII", tag, 4, 1, value) for tag, value in changes)]
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return bytes(payload[:4]) + struct.pack("<I", len(payload)) + bytes(payload[8:]) + directory


BOMBS = {
    "png": png(side=60_000),
    "text": png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28)))]),
    "texts": png(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 1)))] * 500),
    "icc": png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**28)))),
    "bmp": bmp(60_000_000, 1, b"\0\2\0\xff" * 100),
    "tiff": tiff((256, 60_000), (257, 60_000)),
    "tiff strips": tiff((278, 2**31)),
    "tiff tiles": tiff((322, 30_000), (323, 30_000), (324, 8), (325, 16)),
    "tiff samples": tiff((277, 60_000)),
    "webp": webp(2**14, 2**13),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
    "gif frame": b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;",
}
