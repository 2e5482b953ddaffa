"""A crawl never asks for what was forgotten: whatever names it, leads to it, or knew it before."""

import pytest
from fetching import crawl_of, crawled, image, page, path_of

from crawlers import rounds
from crawlers.known import left
from crawlers.urls import key
from dsray import keys
from dsray.errors import LakeError
from dsray.forget import crawls
from dsray.lake import shards, tombstones
from dsray.lake.shards import Receipt
from dsray.lake.store import open_store
from dsray.lake.tombstones import Order, mark

KINDS = ("item", "page", "sitemap", "api")


def forgotten(job, urls=(), hosts=(), digests=()) -> Order:
    """Files an order and its end."""
    store = open_store(job["lake"])
    order = tombstones.add(store, Order(
        0, "", "", "", {}, urls=[mark(url) for url in urls], hosts=[mark(host) for host in hosts],
        crawled=[key(kind, url) for url in urls for kind in KINDS], digests=list(digests),
    ))  # fmt: skip
    tombstones.end(store, order, {})
    return order


def rows(job, end) -> dict[str, str | bytes]:
    """Path → error or payload."""
    store = open_store(job["lake"])
    made = [row for one in end["shards"] for row in shards.read(store, Receipt(**one)).to_pylist()]
    return {path_of(row["url"]): row["error"] or row["payload"] for row in made}


def gallery():
    pictures = {f"/{name}.png": image(name.encode()) for name in "abcd"}
    return {"/": page("/a.png", "/b.png", links=("/two",)), "/two": page("/c.png", "/d.png"), **pictures}


def test_items_and_pages_that_were_forgotten_are_not_asked_for(site, job):
    small = site(gallery())
    said = job(small.url)
    forgotten(said, [f"{small.url}a.png", f"{small.url}two?utm_source=elsewhere"])  # in any spelling
    end = crawled(said)
    assert rows(said, end) == {"/b.png": b"b"}
    assert not {"/a.png", "/two", "/c.png"} & set(small.hits)


def test_a_redirect_to_it_is_not_followed_and_its_payload_elsewhere_not_kept(site, job):
    answers = gallery()
    answers["/a.png"] = (302, {"Location": "/c.png"}, b"")
    small = site(answers)
    said = job(small.url)
    forgotten(said, [f"{small.url}c.png"], digests=[keys.digest(b"d")])
    assert rows(said, crawled(said)) == {"/a.png": "forgotten", "/b.png": b"b", "/d.png": "forgotten"}
    assert "/c.png" not in small.hits and "/d.png" in small.hits


def test_a_host_that_was_forgotten_is_asked_nothing(site, job):
    other = site({"/x.png": image(b"x")})
    small = site({**gallery(), "/two": page(f"{other.url}x.png", "/d.png")})
    said = job(small.url)
    forgotten(said, hosts=[f"127.0.0.1:{other.port}"])
    assert rows(said, crawled(said)) == {"/a.png": b"a", "/b.png": b"b", "/d.png": b"d"}
    assert other.hits == []


def test_what_an_earlier_crawl_knew_is_not_taken_over(site, job):
    small = site(gallery())
    said = job(small.url)
    crawled(said)
    small.hits.clear()
    forgotten(said, [f"{small.url}c.png"])
    end = crawled(said, number=1)
    assert "/c.png" not in small.hits and {"/a.png", "/d.png"} <= set(small.hits)
    store = open_store(said["lake"])
    known = [url for table in rounds.tables_of(store, end["known"]) for url in table["url"].to_pylist()]
    assert f"{small.url}c.png" not in known and f"{small.url}d.png" in known


def test_a_finished_crawl_is_cleaned_and_one_that_did_not_end_is_in_the_way(site, job):
    small = site(gallery())
    said = job(small.url)
    crawled(said)
    store = open_store(said["lake"])
    order = forgotten(said, [f"{small.url}c.png"])
    crawls.refuse_unfinished(store, tombstones.of([order]))
    for entry in list(crawls.clean(store, order, {})):
        store.delete(entry.name)
    names = [entry.name.split("/")[-1] for entry in store.list("crawls/")]
    assert not any(name.startswith(("log-", "list-", "segment-", "sites-", "seen-")) for name in names)
    assert not any(f"{small.url}c.png".encode() in store.read(entry.name) for entry in store.list("crawls/"))
    end = rounds.run(crawl_of(said), lambda jobs: pytest.fail("a crawl that is done asks nothing"))
    (known,) = rounds.tables_of(store, end["known"])
    assert left(known, tombstones.of([order])).num_rows == known.num_rows == end["urls"]
    store.delete(f"{crawl_of(said).root}/crawl.json")
    other = forgotten(said, [f"{small.url}d.png"])
    with pytest.raises(LakeError, match=r"The crawl crawls/.* did not end"):
        crawls.refuse_unfinished(store, tombstones.of([other]))
