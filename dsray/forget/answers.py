"""Archived answers (WARC, each record a gzip member of its own) without those of forgotten URLs, payloads, and of the
pages that named them."""

import re
import zlib
from collections.abc import Iterator

from dsray.lake.tombstones import Order, mark, of

_FIELD = re.compile(rb"^(WARC-Type|WARC-Target-URI|WARC-Payload-Digest): ([^\r\n]*)", re.MULTILINE)


def without(data: bytes, order: Order) -> bytes:
    """The records that stay, byte for byte; nothing when all that stays is the file's own head."""
    kept, forgotten = [], of([order])
    for raw, fields in _members(data):
        url = fields.get("WARC-Target-URI", "")
        digest = fields.get("WARC-Payload-Digest", "").removeprefix("sha256:")
        if not (digest in order.digests or mark(url) in order.pages or forgotten.holds_url(url)):
            kept.append((raw, fields))
    return b"".join(raw for raw, _ in kept) if any(f.get("WARC-Type") != "warcinfo" for _, f in kept) else b""


def _members(data: bytes) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Each gzip member as it lies there, and the fields of its record."""
    while data:
        unzip = zlib.decompressobj(31)
        record = unzip.decompress(data)
        raw, data = data[: len(data) - len(unzip.unused_data)], unzip.unused_data
        head = record.partition(b"\r\n\r\n")[0]
        yield raw, {name.decode(): value.decode("latin-1") for name, value in _FIELD.findall(head)}
