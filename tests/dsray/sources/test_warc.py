"""dsray.sources.warc: responses of archives that warcio wrote, filters, encodings, and archives that break off."""

import gzip
import io
import json
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from crawlers.rows import HEADERS
from dsray.collection import Warc
from dsray.errors import SourceError
from dsray.sources import warc
from dsray.sources.rows import table


def warc_of(records: list[tuple], packed: bool = True) -> bytes:
    """(url, body, headers) each; a request and a warcinfo among them."""
    sink = io.BytesIO()
    writer = WARCWriter(sink, gzip=packed)
    writer.write_record(writer.create_warcinfo_record("x.warc", {"software": "test"}))
    for url, body, headers in records:
        http = StatusAndHeaders("200 OK", list(headers), protocol="HTTP/1.1")
        dated = {"WARC-Date": "2026-01-02T03:04:05Z"}
        writer.write_record(
            writer.create_warc_record(url, "response", io.BytesIO(body), http_headers=http, warc_headers_dict=dated)
        )
        asked = StatusAndHeaders("GET / HTTP/1.1", [("Host", "h")], is_http_request=True)
        writer.write_record(writer.create_warc_record(url, "request", io.BytesIO(b""), http_headers=asked))
    return sink.getvalue()


def rows_of(path: Path | str, **more) -> list[dict]:
    config = Warc(path=str(path), **more)
    found = [row for piece in warc.pieces(config) for row in warc.rows(piece, "s", config)]
    assert len({row["id"] for row in found}) == len(found)
    assert table(found, []).num_rows == len(found)
    return found


IMAGE = [("Content-Type", "Image/PNG; x=1"), ("ETag", '"e"'), ("Set-Cookie", "secret=1"), ("X-Robots-Tag", "noai")]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_response_is_a_row(tmp_path, name):
    records = [("http://h/1.png", b"one", IMAGE), ("http://h/p", b"page", [("Content-Type", "text/html")])]
    (tmp_path / name).write_bytes(warc_of(records, packed=name.endswith("gz")))
    (row,) = rows_of(tmp_path)
    assert (row["url"], row["payload"], row["status"]) == ("http://h/1.png", b"one", 200)
    assert row["fetched_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(row["headers"]) == {"content-type": "Image/PNG; x=1", "etag": '"e"', "x-robots-tag": "noai"}
    assert warc.HEADERS == HEADERS, "a crawl and an archive keep the same headers"


def test_types_and_urls_choose(tmp_path):
    records = [(f"http://{h}/{t}", b"x", [("Content-Type", t)]) for h in "ab" for t in ("image/png", "text/html")]
    (tmp_path / "a.warc.gz").write_bytes(warc_of(records))
    assert [row["url"] for row in rows_of(tmp_path, types=["text/*", "image/gif"])] == [
        "http://a/text/html",
        "http://b/text/html",
    ]
    assert [row["url"] for row in rows_of(tmp_path, types=["*"], urls="^http://b/.*png")] == ["http://b/image/png"]


def test_the_same_url_again_is_another_row(tmp_path):
    (tmp_path / "a.warc.gz").write_bytes(warc_of([("http://h/1.png", b"one", IMAGE)] * 2))
    assert [row["url"] for row in rows_of(tmp_path)] == ["http://h/1.png"] * 2


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"plain")),
        ("gzip", b"plain"),
        ("deflate", zlib.compress(b"plain")),
        ("deflate", zlib.compress(b"plain", wbits=-15)),
        ("identity", b"plain"),
        ("deflate, gzip", gzip.compress(zlib.compress(b"plain"))),
    ],
    ids=["gzip", "undone gzip", "deflate", "raw deflate", "identity", "two"],
)
def test_content_encodings_are_undone(tmp_path, coding, body):
    (tmp_path / "a.warc").write_bytes(warc_of([("http://h/1", body, [*IMAGE, ("Content-Encoding", coding)])], False))
    assert [row["payload"] for row in rows_of(tmp_path)] == [b"plain"]


def test_chunks_are_joined(tmp_path):
    headers = [*IMAGE, ("Transfer-Encoding", "chunked")]
    bodies = [b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n", b"joined before", b"5\r\nab"]
    (tmp_path / "a.warc").write_bytes(warc_of([(f"http://h/{b[0]}", b, headers) for b in bodies], False))
    found = rows_of(tmp_path)
    assert [row.get("payload") for row in found] == [b"abcde", b"joined before", None]


def test_what_cannot_be_decoded_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(warc, "MOST_RECORD", 1000)
    bodies = {"bomb": ("gzip", gzip.compress(bytes(10**6))), "cut": ("gzip", gzip.compress(b"x" * 99)[:-12]),
              "odd": ("zzz", b"x"), "large": ("", bytes(2000)), "wrong": ("deflate", b"\xff\xff\xff")}  # fmt: skip
    records = [(f"http://h/{n}", body, [*IMAGE, ("Content-Encoding", c)]) for n, (c, body) in bodies.items()]
    (tmp_path / "a.warc.gz").write_bytes(warc_of([*records, ("http://h/good", b"good", IMAGE)]))
    found = rows_of(tmp_path)
    assert [row.get("error") for row in found] == ["invalid"] * 5 + [None]
    assert json.loads(found[0]["evidence"])["signal"] == "size"


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_that_breaks_off_keeps_what_came_before(tmp_path, packed):
    name = "a.warc.gz" if packed else "a.warc"
    data = warc_of([(f"http://h/{n}.png", b"%d" % n * 50, IMAGE) for n in range(2)], packed)
    (tmp_path / name).write_bytes(data)
    whole = rows_of(tmp_path)
    odd = 0
    for cut in range(1, len(data), 3):
        (tmp_path / name).write_bytes(data[:cut])
        found = rows_of(tmp_path)
        good = [row["payload"] for row in found if not row.get("error")]
        assert good == [row["payload"] for row in whole][: len(good)]
        odd += len(found) > len(good)
    assert odd > 0.5 * len(data) / 3, "nearly any place is inside a record"


def test_damage_in_the_middle_is_a_row(tmp_path):
    data = bytearray(warc_of([(f"http://h/{n}.png", b"%d" % n * 50, IMAGE) for n in range(3)]))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.warc.gz").write_bytes(bytes(data))
    (tmp_path / "b.warc.gz").write_bytes(b"no archive")
    found = rows_of(tmp_path)
    assert found[0]["payload"] and {row["url"].rpartition("/")[2] for row in found if row.get("error")} >= {"b.warc.gz"}


def test_a_missing_package_or_file_is_told(tmp_path, monkeypatch, s3):
    (tmp_path / "x.txt").touch()
    with pytest.raises(SourceError, match="There are no WARC files"):
        warc.pieces(Warc(path=str(tmp_path)))
    s3.create("in/a.warc.gz", warc_of([("http://h/1.png", b"one", IMAGE)]))
    assert [row["payload"] for row in rows_of(f"{s3.url}/in")] == [b"one"]
    monkeypatch.setitem(sys.modules, "fastwarc.warc", None)
    with pytest.raises(SourceError, match=r"needs FastWARC. Install it: pip install 'dsray\[warc\]'"):
        warc.pieces(Warc(path=str(tmp_path)))


def test_an_answer_that_is_no_success_is_a_row_without_payload(tmp_path):
    data = warc_of([("http://h/1.png", b"nothing here", IMAGE)], packed=False)
    (tmp_path / "a.warc").write_bytes(data.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 NO"))
    (row,) = rows_of(tmp_path)
    assert (row["error"], row["status"], row.get("payload")) == ("http_status", 404, None)
