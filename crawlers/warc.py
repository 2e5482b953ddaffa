"""Answers as WARC 1.1 (ISO 28500:2017): each record a gzip member of its own, so that files may be put together."""

import gzip
import hashlib
import uuid
from datetime import UTC, datetime

from scrapy.http import Response

_UNDONE = (b"content-encoding", b"transfer-encoding", b"content-length")
"""Headers of the wire: the body that is written is already unpacked."""


def header(agent: str) -> bytes:
    """The record that begins a file."""
    fields = f"software: dsray\r\nformat: WARC File Format 1.1\r\nhttp-header-user-agent: {agent}\r\n".encode()
    return _record("warcinfo", {"Content-Type": "application/warc-fields"}, fields)


def response(answer: Response) -> bytes:
    """The record of an answer, with its HTTP headers."""
    lines = [f"HTTP/1.1 {answer.status} ".encode()]
    for name, values in answer.headers.items():
        if name.lower() not in _UNDONE:
            lines += [name + b": " + value for value in values]
    lines.append(b"Content-Length: %d" % len(answer.body))
    block = b"\r\n".join(lines) + b"\r\n\r\n" + answer.body
    digest = hashlib.sha256(answer.body).hexdigest()
    told = {
        "WARC-Target-URI": answer.url,
        "Content-Type": "application/http; msgtype=response",
        "WARC-Payload-Digest": f"sha256:{digest}",
    }
    return _record("response", told, block)


def _record(kind: str, told: dict[str, str], block: bytes) -> bytes:
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>",
        "WARC-Date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **told,
        "Content-Length": str(len(block)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return gzip.compress(f"WARC/1.1\r\n{head}\r\n".encode() + block + b"\r\n\r\n", 6)
