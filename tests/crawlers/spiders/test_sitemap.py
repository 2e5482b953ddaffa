"""crawlers.spiders.sitemap: sitemaps and their indexes, plain and packed, given or found through robots.txt."""

import gzip

import pytest
from fetching import crawled_rows, image, page, path_of
from scrapy.http import Response

from crawlers.job import Job
from crawlers.spiders import sitemap
from crawlers.spiders.read import SITEMAP, Link

JOB = Job("file:///x", "s", "f", "l", max_mb=0.01)
NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def urlset(*urls: str) -> bytes:
    return f"<urlset {NS}>{''.join(f'<url><loc>{url}</loc></url>' for url in urls)}</urlset>".encode()


def index(*urls: str) -> bytes:
    named = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f"<?xml version='1.0'?><sitemapindex {NS}>{named}</sitemapindex>".encode()


def links(body: bytes, url: str = "http://a.org/s.xml") -> list[Link]:
    read = sitemap.read(Response(url, body=body), JOB)
    assert read.items == [] and read.directives == []
    return read.links


def test_pages_are_links_and_an_index_names_sitemaps():
    pages = [Link("http://a.org/1"), Link("http://a.org/2?x=1")]
    assert links(urlset("http://a.org/1", " http://a.org/2?x=1 ")) == pages
    whole = urlset("http://a.org/1", "http://a.org/2?x=1")
    assert links(gzip.compress(whole)) == links(gzip.compress(whole[:90]) + gzip.compress(whole[90:])) == pages
    assert links(index("http://a.org/t.xml")) == [Link("http://a.org/t.xml", SITEMAP)]
    assert links(b"http://a.org/1\n\n http://a.org/2?x=1\n", "http://a.org/s.txt") == pages
    assert links(urlset()) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><body>no</body></html>", "no sitemap"),
        (b"\x1f\x8bdamaged", "damaged gzip"),
        (gzip.compress(bytes(1_000_000)), "more than 10000 bytes"),
    ],
)
def test_what_is_no_sitemap_says_why(body, said):
    with pytest.raises(ValueError, match=said):
        links(body)


def test_a_packed_sitemap_that_is_cut_off_is_damaged():
    with pytest.raises(ValueError, match="damaged"):
        links(gzip.compress(urlset("http://a.org/1", "http://a.org/2"))[:-20])


XML = {"Content-Type": "application/xml"}


def test_an_index_leads_to_packed_sitemaps_and_these_to_pages(site, job):
    answers = {f"/{at}": page(f"/{at}.png", links=(f"/{at + 1}",)) for at in range(3)}
    answers |= {f"/{at}.png": image(b"%d" % at) for at in range(3)}
    small = site(answers)
    answers["/index.xml"] = (200, XML, index(small.url + "one.xml.gz", small.url + "junk.xml"))
    answers["/one.xml.gz"] = (200, {"Content-Type": "application/gzip"}, gzip.compress(urlset(small.url + "0")))
    answers["/junk.xml"] = (200, XML, b"<html>")
    got = crawled_rows(job(sitemaps=[small.url + "index.xml"], budget={"depth": 2}))
    assert {path_of(url): row["error"] or row["payload"] for url, row in got.items()} == {
        "/0.png": b"0", "/1.png": b"1", "/junk.xml": "invalid"
    }  # fmt: skip


def test_sitemaps_are_discovered_through_robots_txt(site, job):
    answers = {"/": page(), "/hidden": page("/h.png"), "/h.png": image(b"H")}
    small = site(answers)
    answers["/map.xml"] = (200, XML, urlset(small.url + "hidden"))
    answers["/robots.txt"] = (200, {}, f"Sitemap: {small.url}map.xml\n".encode())
    assert crawled_rows(job(small.url)) == {}
    got = crawled_rows(job(small.url, sitemaps=["discover"]))
    assert {path_of(url): row["payload"] for url, row in got.items()} == {"/h.png": b"H"}
