"""Archives lose the records of what was forgotten, and keep the others byte for byte."""

import gzip

from scrapy.http import Response

from crawlers import warc
from dsray import keys
from dsray.forget.answers import without
from dsray.lake.tombstones import Order, mark


def order(**fields) -> Order:
    return Order(1, "", "", "", {}, **fields)


def test_urls_hosts_payloads_and_pages_that_named_them_are_cut_out():
    head = warc.header("a crawler")
    records = [warc.response(Response(f"http://{url}", body=body)) for url, body in
               [("a.org/1", b"one"), ("a.org/2", b"two"), ("b.org/3", b"three"), ("a.org/page", b"page"),
                ("a.org/5", b"five")]]  # fmt: skip
    asked = order(urls=[mark("http://a.org/1")], hosts=[mark("b.org")], pages=[mark("http://a.org/page")],
                  digests=[keys.digest(b"two")])  # fmt: skip
    rest = without(head + b"".join(records), asked)
    assert rest == head + records[4]
    assert b"five" in gzip.decompress(rest)
    assert without(head + records[0], asked) == b""  # nothing but the file's own head
