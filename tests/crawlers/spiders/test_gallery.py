"""crawlers.spiders.gallery: an HTML page's items, links, directives and licence."""

from fetching import crawled_rows, image, page, path_of
from scrapy.http import HtmlResponse

from crawlers.job import Job
from crawlers.spiders import gallery
from crawlers.spiders.read import Link

JOB = Job("file:///x", "s", "f", "l", item={"image": "img::attr(src)", "caption": "b::text"}, user_agent="dsray/1")


def test_a_page_gives_items_links_directives_and_its_licence():
    body = b"""<head><meta name="robots" content="NoFollow, noai"><meta name="other" content="noindex">
    <link rel="license" href="http://cc.org/by"></head><div><img src="/1.png"><b> one </b></div>
    <div><img src="2.png"></div><a href="/next">x</a><a>no link</a>"""
    read = gallery.read(HtmlResponse("http://a.org/", body=body), JOB)
    assert read.items == [("/1.png", {"caption": "one"}), ("2.png", {"caption": None})]
    assert read.links == [Link("/next")]
    assert read.directives == [("robots", "nofollow"), ("robots", "noai")] and read.licence == "http://cc.org/by"


def test_a_recipe_without_items_still_finds_links():
    read = gallery.read(HtmlResponse("http://a.org/", body=b"<img src=x><a href=/y>"), Job("file:///x", "s", "f", "l"))
    assert read.items == [] and read.links == [Link("/y")]


def test_a_gallery_is_crawled_with_the_texts_of_each_item(site, job):
    small = site({"/": page("/a.png", links=("/two",)), "/two": page("/b.png"), **{
        f"/{name}.png": image(name.encode()) for name in "ab"
    }})  # fmt: skip
    got = crawled_rows(job(small.url))
    assert {path_of(url): (row["payload"], row["caption"], row["page"]) for url, row in got.items()} == {
        "/a.png": (b"a", "digit of /a.png", small.url), "/b.png": (b"b", "digit of /b.png", small.url + "two")
    }  # fmt: skip
