"""crawlers.warc: others' readers find in a file what the servers said."""

import gzip
import hashlib
import io

import pytest
from fastwarc.warc import ArchiveIterator as Fast
from fastwarc.warc import WarcRecordType
from fetching import crawled, image, page
from hypothesis import given
from hypothesis import strategies as st
from scrapy.http import Response
from warcio.archiveiterator import ArchiveIterator

from crawlers import warc
from dsray.lake.store import open_store

Read = list[tuple[str, int, dict[str, str], bytes, str]]
"""URL, status, headers, payload and payload digest of each response."""


def by_warcio(data: bytes) -> Read:
    return [
        (
            record.rec_headers.get_header("WARC-Target-URI"), int(record.http_headers.get_statuscode()),
            {name.lower(): value for name, value in record.http_headers.headers}, record.content_stream().read(),
            record.rec_headers.get_header("WARC-Payload-Digest"),
        )
        for record in ArchiveIterator(io.BytesIO(data), check_digests="raise")
        if record.rec_type == "response"
    ]  # fmt: skip


def by_fastwarc(data: bytes) -> Read:
    return [
        (
            record.headers["WARC-Target-URI"], record.http_headers.status_code,
            {name.lower(): value for name, value in record.http_headers.astuples()}, record.reader.read(),
            record.headers["WARC-Payload-Digest"],
        )
        for record in Fast(io.BytesIO(data), record_types=WarcRecordType.response, parse_http=True)
    ]  # fmt: skip


@pytest.mark.parametrize("read", [by_warcio, by_fastwarc])
@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=3), status=st.sampled_from([200, 404, 503]))
def test_a_reader_finds_what_was_written(read, bodies, status):
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip", "Transfer-Encoding": "chunked", "ETag": '"é"'}
    answers = [Response(f"http://a.org/{n}?x=%C3%A9", status, headers, body) for n, body in enumerate(bodies)]
    data = warc.header("dsray/1") + b"".join(map(warc.response, answers))
    for answer, (url, code, told, payload, digest) in zip(answers, read(data), strict=True):
        assert (url, code, payload) == (answer.url, status, answer.body)
        assert digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        assert told["content-type"] == "image/png" and told["content-length"] == str(len(answer.body))
        assert not {"content-encoding", "transfer-encoding"} & told.keys(), "the body is unpacked already"


def test_every_answer_of_a_crawl_is_in_its_archive(site, job):
    packed = gzip.compress(b"packed")
    answers = {"/": page("/a.png", "/b.png", "/no.png", links=("/two",)), "/two": page("/a.png"),
               "/a.png": image(bytes(range(256))), "/b.png": image(packed, Content_Encoding="gzip")}  # fmt: skip
    small = site(answers)
    said = job(small.url, warc=True)
    crawled(said)
    store = open_store(said["lake"])
    names = [entry.name for entry in store.list("crawls/") if entry.name.endswith(".warc.gz")]
    data = b"".join(store.read(name) for name in names)
    found = {url: payload for url, _, _, payload, _ in by_warcio(data)}
    assert found == {url: payload for url, _, _, payload, _ in by_fastwarc(data)}
    assert found == {
        small.url: answers["/"][2], small.url + "two": answers["/two"][2],
        small.url + "a.png": bytes(range(256)), small.url + "b.png": b"packed",
    }  # fmt: skip
    assert next(iter(ArchiveIterator(io.BytesIO(data)))).rec_type == "warcinfo"
