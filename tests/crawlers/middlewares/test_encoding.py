"""crawlers.middlewares.encoding: whole streams are unpacked, damaged ones and bombs are refused with the reason."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.statscollectors import DummyStatsCollector

from crawlers.middlewares.encoding import EncodingMiddleware
from crawlers.refused import Refused

MOST = 100_000
CRAWLER = Crawler(Spider, {"DOWNLOAD_MAXSIZE": MOST})
CRAWLER.stats = DummyStatsCollector(CRAWLER)
MIDDLEWARE = EncodingMiddleware.from_crawler(CRAWLER)
REQUEST = Request("http://a.org/x")


def unpacked(body: bytes, coding: str = "gzip") -> bytes:
    response = Response(REQUEST.url, headers={"Content-Encoding": coding}, body=body, request=REQUEST)
    found = MIDDLEWARE.process_response(REQUEST, response)
    assert isinstance(found, Response)
    return found.body


def refused(body: bytes, coding: str = "gzip") -> str:
    with pytest.raises(Refused) as raised:
        unpacked(body, coding)
    assert raised.value.reason.where == REQUEST.url and not raised.value.passing
    return raised.value.reason.error


@given(st.binary(max_size=200), st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4))
def test_what_was_packed_comes_back_also_in_many_members(body, parts):
    assert unpacked(gzip.compress(body)) == body
    assert unpacked(b"".join(map(gzip.compress, parts))) == b"".join(parts)
    assert unpacked(zlib.compress(body), "deflate") == body


@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_stream_that_is_cut_off_is_invalid_wherever_it_is_cut(body, data):
    packed = gzip.compress(body)
    assert refused(packed[: data.draw(st.integers(1, len(packed) - 1))]) == "invalid"


@pytest.mark.parametrize("body", [b"no gzip at all", b"\x1f\x8b", b"\x1f\x8b\x08junkjunkjunkjunk"])
def test_what_is_no_gzip_is_invalid(body):
    assert refused(body) == "invalid"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_too_large(coding):
    bomb = (gzip if coding == "gzip" else zlib).compress(bytes(50 * MOST))
    assert len(bomb) < MOST and refused(bomb, coding) == "too_large"


def test_what_is_not_encoded_is_left_as_it_is():
    assert unpacked(b"plain", "identity") == b"plain"
    packed = gzip.compress(b"a file")
    assert MIDDLEWARE.process_response(REQUEST, Response(REQUEST.url, body=packed)).body == packed  # type: ignore[union-attr]
