"""crawlers.reading: scope, nofollow, licences, URLs that are none, and pages that are damaged."""

import json

import numpy as np
import pytest
from fetching import crawled_rows, image, page, path_of
from hypothesis import given
from hypothesis import strategies as st
from scrapy.http import HtmlResponse, Response

from crawlers.job import Budget, Job
from crawlers.known import HELD, NEW, PAGE, Known
from crawlers.reading import Found, Reader, every_host_of, host_hash
from dsray.lake.store import Store

PAGE_URL = "http://www.a.org/d/"
ITEM = {"image": "img::attr(src)", "caption": "b::text"}
JOB = Job("file:///x", "s", "f", "l", item=ITEM, fields=("caption", "note"), user_agent="dsray/1", hosts="hosts",
          budget=Budget(depth=2))  # fmt: skip


@pytest.fixture
def reader(store: Store) -> Reader:
    store.create("hosts", np.sort(np.array([host_hash(name) for name in ("www.a.org", "b.org")], np.uint64)).tobytes())
    return Reader(JOB, store)


def read(reader: Reader, body: str, depth: int = 0) -> Found:
    return reader.read(Known(PAGE_URL, PAGE, depth=depth), HtmlResponse(PAGE_URL, body=body.encode()), None)


def test_links_stay_in_scope_and_in_depth_and_are_pages(reader):
    body = "".join(f"<a href='{url}'>" for url in ("x#y", "http://b.org/", "http://c.org/", "/p.png", "mailto:a@b.org"))
    assert [(one.url, one.depth, one.page) for one in read(reader, body).links] == [
        ("http://www.a.org/d/x", 1, PAGE_URL), ("http://b.org/", 1, PAGE_URL)
    ]  # fmt: skip
    assert read(reader, body, depth=2).links == []
    assert read(reader, "<head><meta name=robots content=nofollow></head>" + body).links == []
    reader.hosts = np.sort(np.array([host_hash(every_host_of("www.a.org"))], np.uint64))
    assert reader.in_scope("img.a.org:81") and reader.in_scope("a.org") and not reader.in_scope("b.org")
    reader.hosts = np.array([host_hash("a.org")], np.uint64)
    assert reader.in_scope("a.org") and not reader.in_scope("www.a.org")
    reader.moved |= {"c.org", "www.a.org", "b.org"}
    assert len(read(reader, body).links) == 3


def test_items_have_every_field_and_those_that_are_no_url_are_held(reader):
    found = read(reader, "<p><img src=1.png><b>one</b></p><p><img src='http://[::1'></p><p><img src=1.png></p>")
    first, wrong = found.items
    assert (first.url, first.state, first.texts) == (PAGE_URL + "1.png", NEW, {"caption": "one", "note": None})
    assert (wrong.state, wrong.outcome) == (HELD, "invalid") and json.loads(wrong.evidence or "")["signal"] == "url"


def test_nothing_may_be_taken_from_a_page_that_refuses_but_its_links_lead_on(reader):
    found = read(reader, "<head><meta name=robots content=noai></head><img src=1.png><a href=x>")
    assert [(one.state, one.outcome) for one in found.items] == [(HELD, "opted_out")]
    assert found.refusal and found.refusal.value == "noai" and len(found.links) == 1


@pytest.mark.parametrize("body", [b"", b" \n", b"\x00\xff\xfe", b"<", b"<!--"])
def test_damaged_pages_give_nothing_or_a_reason(reader, body):
    found = reader.read(Known(PAGE_URL, PAGE), HtmlResponse(PAGE_URL, body=body), None)
    assert found.items == found.links == []
    assert reader.read(Known(PAGE_URL, PAGE), Response(PAGE_URL, body=b"\x00\xff"), None) == Found([], [])


@given(st.binary(max_size=80), st.sampled_from(["page", "sitemap", "api"]))
def test_whatever_the_bytes_are_there_is_an_answer(body, kind):
    api = {"items": "@", "url": "url", "texts": {}, "next": ""}
    reader = Reader(Job("file:///x", "s", "f", "l", item=ITEM, api=api), None)  # type: ignore[arg-type] # no hosts
    found = reader.read(Known(PAGE_URL, kind), HtmlResponse(PAGE_URL, body=b"<img src=" + body), None)
    assert found.reason is None or (found.reason.error == "invalid" and len(found.reason.value) <= 200)
    assert found.reason is None or found.items == found.links == []


SCOPES = {"host": {"/near.png"}, "any": {"/near.png", "/far.png", "/sub.png"}, "domain": {"/near.png", "/sub.png"}}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_is_a_host_a_registered_domain_or_any(site, job, scope):
    far = site({"/far": page("/far.png"), "/far.png": image(b"F")}, "127.0.0.2")
    sub = site({"/sub": page("/sub.png"), "/sub.png": image(b"S")})
    links = (f"http://sub.a.localhost:{sub.port}/sub", far.url + "far", "/near")
    near = site({"/": page(links=links), "/near": page("/near.png"), "/near.png": image(b"N")})
    got = crawled_rows(job(f"http://www.a.localhost:{near.port}/", scope=scope))
    assert {path_of(url) for url, row in got.items() if row["payload"]} == SCOPES[scope]


LICENCES = {
    "/link": ('<link rel="license" href="http://cc.org/by">', "http://cc.org/by"),
    "/meta": ('<meta name="DC.rights" content="CC0">', "CC0"),
    "/json": ('<script type="application/ld+json">{"license": "http://cc.org/sa"}</script>', "http://cc.org/sa"),
    "/none": ("", None),
}


def test_the_licence_that_a_page_declares_reaches_its_items_rows(site, job):
    answers = {path: page(f"{path}.png", head=head) for path, (head, _) in LICENCES.items()}
    answers |= {f"{path}.png": image(path.encode()) for path in LICENCES}
    got = crawled_rows(job(site({"/": page(links=tuple(LICENCES)), **answers}).url))
    assert {path_of(url): row["licence"] for url, row in got.items()} == {
        f"{path}.png": licence for path, (_, licence) in LICENCES.items()
    }  # fmt: skip
