"""WARC files: a row each HTTP response that the source's filters let pass, its content encoding undone."""

import json
import re
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from dsray.collection import Warc
from dsray.errors import SourceError
from dsray.lake import folder
from dsray.lake.folder import UNREADABLE, File
from dsray.sources.piece import Piece, files_of, of_files
from dsray.sources.rows import Row, bad, damage, good

HEADERS = ("content-type", "content-length", "etag", "last-modified", "x-robots-tag", "tdm-reservation")
"""Those that a crawl keeps."""
_LONGEST_HEADER = 512
MOST_RECORD = 256 * 2**20
"""Bytes of one payload, before and after its content encoding is undone."""


class Unread(Exception):
    """Why a record is no payload: signal, value."""


def pieces(config: Warc) -> list[Piece]:
    """A file is a piece."""
    _fastwarc()
    listed = [file for file in folder.listing(config.path) if file.name.lower().endswith((".warc", ".warc.gz"))]
    if not listed:
        raise SourceError(
            f"There are no WARC files at {folder.absolute(config.path)}.", "They end in .warc or .warc.gz."
        )
    return [of_files("warc", [file]) for file in listed]


def rows(piece: Piece, source: str, config: Warc) -> Iterator[Row]:
    """A row each response that passes, a row each record that is damaged, and a row where the file breaks off."""
    (file,) = files_of(piece)
    if file.stamp == UNREADABLE:
        yield bad(source, file.url, "warc", UNREADABLE)
        return
    wanted, urls = tuple(glob.lower() for glob in config.types), re.compile(config.urls)
    offset = 0
    with folder.reader(file) as stream:
        try:
            for record in _fastwarc().ArchiveIterator(stream):
                offset = record.stream_pos
                row = _row(record, source, file, wanted, urls)
                if row:
                    yield row
        except Exception as error:
            yield bad(source, file.url, "warc", damage(error), at=f"{file.url}@{offset}+")


def _row(record: Any, source: str, file: File, wanted: tuple[str, ...], urls: re.Pattern[str]) -> Row | None:
    """A record's row, or None when it is no response, or one that the filters leave out."""
    at = f"{file.url}@{record.stream_pos}"
    kind, url, when = str(record.record_type), record.headers.get("WARC-Target-URI"), record.record_date
    if kind == "unknown" or "Content-Length" not in record.headers:
        return bad(source, url or file.url, "record", "cut or without a type", when, at)
    if kind != "response":
        return None
    try:
        if not url:
            raise Unread("record", "no WARC-Target-URI")
        url = url.strip("<>")
        if not urls.search(url):
            return None
        record.parse_http()
        http = record.http_headers
        if http is None or http.status_code is None:
            raise Unread("http", "no status line")
        named = {name.lower(): value for name, value in reversed(list(http.items()))}
        type_ = named.get("content-type", "").partition(";")[0].strip().lower()
        if not any(fnmatchcase(type_, glob) for glob in wanted):
            return None
        kept = {name: named[name][:_LONGEST_HEADER] for name in HEADERS if name in named}
        answer = {"status": http.status_code, "headers": json.dumps(kept, sort_keys=True), "final_url": url}
        if not 200 <= http.status_code < 300:
            return {**bad(source, url, "status", http.status_code, when, at, "http_status"), **answer}
        payload = _body(record, named)
    except Exception as error:
        signal, value = error.args if isinstance(error, Unread) else ("record", damage(error))
        return bad(source, url or file.url, signal, value, when, at)
    return {**good(source, url, payload, {}, when, at), **answer}


def _body(record: Any, headers: dict[str, str]) -> bytes:
    """The payload as the server meant it. Raises Unread when it is cut, too large, or encoded as nobody can tell."""
    size = record.content_length
    if size > MOST_RECORD:
        raise Unread("size", size)
    body = bytes(record.reader.read())
    if len(body) < size:
        raise Unread("record", f"{len(body)} of {size} bytes")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _joined(body)
    for coding in reversed([part.strip().lower() for part in headers.get("content-encoding", "").split(",")]):
        body = _decoded(body, coding)
    return body


def _joined(body: bytes) -> bytes:
    """Chunks as one. Archives often keep the header of what they have joined already: then the body is as it is."""
    if not re.match(rb"[0-9a-fA-F]+[^\n]{0,200}\r\n", body):
        return body
    found: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        try:
            size = int(body[at:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size == 0:
            return b"".join(found)
        if size < 0 or end + 2 + size > len(body):
            raise Unread("transfer-encoding", "broken chunks")
        found.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _decoded(body: bytes, coding: str) -> bytes:
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip"):
        return _inflated(body, 31) if body.startswith(b"\x1f\x8b") else body  # archives may have decoded it before
    if coding == "deflate":
        zipped = len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        return _inflated(body, 15 if zipped else -15)
    raise Unread("content-encoding", coding)


def _inflated(body: bytes, window: int) -> bytes:
    engine = zlib.decompressobj(window)
    found = engine.decompress(body, MOST_RECORD)
    if engine.unconsumed_tail:
        raise Unread("size", f"more than {MOST_RECORD}")
    if not engine.eof:
        raise Unread("content-encoding", "truncated")
    return found


def _fastwarc() -> Any:
    try:
        return import_module("fastwarc.warc")
    except ImportError:
        raise SourceError("Reading WARC needs FastWARC.", "Install it: pip install 'dsray[warc]'.") from None
