"""crawlers.spiders.own: a user's spider says what a page holds; its mistakes are told in one clear sentence."""

import json
from pathlib import Path

import pytest
from fetching import crawl, crawled, image, path_of
from scrapy.http import HtmlResponse

from crawlers.job import Job
from crawlers.spiders import own
from crawlers.spiders.read import Link, Read
from dsray.errors import RecipeError

MODULE = """
from scrapy import Request

class Good:
    def parse(self, response):
        if response.url.endswith("/"):
            yield "/two"
            yield Request(response.urljoin("three"))
            yield Request(response.urljoin("four"), callback=self.parse)
        for source in response.css("img::attr(src)").getall():
            yield {"image": source, "caption": 7, "note": None}

class Bad(Good):
    def parse(self, response):
        said = {"field": [{"image": "/a", "unknown": "x"}], "other": [3], "raises": self.broken(),
                "callback": [Request(response.url, callback=self.broken)], "none": None}
        return said[response.url.split("/")[-1]]

    def broken(self):
        raise KeyError("my mistake")
        yield

class NoParse:
    pass

class Needs(Good):
    def __init__(self, something):
        pass

NOTHING = 7
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's, where Python finds it."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    return name


def read(spider: str, path: str, body: bytes = b"") -> Read:
    job = Job("file:///x", "s", "f", "l", spider=spider, fields=("caption", "note"), user_agent="dsray/1")
    return own.read(HtmlResponse(f"http://a.org/{path}", body=body), job)


def test_dicts_are_items_and_strings_and_requests_are_links(module):
    head = b'<head><meta name="robots" content="nofollow"></head>'
    found = read(f"{module}:Good", "", head + b"<img src=/a><img src=/b><a rel=license href=/by>")
    assert found.items == [(url, {"caption": "7", "note": None}) for url in ("/a", "/b")]
    assert found.links == [Link("/two"), Link("http://a.org/three"), Link("http://a.org/four")]
    assert found.directives == [("robots", "nofollow")] and found.licence == "/by"
    assert read(f"{module}:Bad", "none") == Read([], [], [])


@pytest.mark.parametrize(
    ("path", "said"), [("field", "'unknown'.*lack"), ("other", "int: neither"), ("callback", "'broken' is not `parse`")]
)
def test_a_spiders_mistake_is_named(module, path, said):
    with pytest.raises(ValueError, match=said):
        read(f"{module}:Bad", path)


@pytest.mark.parametrize("name", ["NoParse", "Needs", "NOTHING", "Missing"])
def test_a_spider_that_cannot_be_had_is_a_mistake_in_the_recipe(module, name):
    with pytest.raises(RecipeError, match=name):
        own.load(f"{module}:{name}")
    with pytest.raises(RecipeError, match="no_such_module"):
        own.load(f"no_such_module:{name}")


def test_an_own_spider_crawls_and_a_page_that_it_fails_on_is_one_row(site, job, module):
    html = {"Content-Type": "text/html"}
    small = site({"/": (200, html, b"<img src=/a.png>"), "/two": (200, html, b"<img src=/b.png>"),
                  "/three": (200, html, b"x"), "/a.png": image(b"A"), "/b.png": image(b"B")})  # fmt: skip
    got = crawl(job(small.url, item={}, spider=f"{module}:Good", texts=["caption", "note"]))
    assert {path: (row["error"], row["payload"], row["caption"]) for path, row in got.items()} == {
        "/a.png": (None, b"A", "7"), "/b.png": (None, b"B", "7"), "/four": ("http_status", None, None)
    }  # fmt: skip
    bad = site({"/raises": (200, html, b"x"), "/field": (200, html, b"x")})
    urls = [bad.url + "raises", bad.url + "field"]
    rows = crawl(job(*urls, source="bad", item={}, spider=f"{module}:Bad", texts=["caption"]))
    said = {path: (row["error"], json.loads(row["evidence"])) for path, row in rows.items()}
    assert {path_of(url) for url in urls} == said.keys()
    assert all(error == "invalid" and told["signal"] == "spider" for error, told in said.values())
    assert said["/raises"][1]["value"] == "KeyError: 'my mistake'" and "'unknown'" in said["/field"][1]["value"]


def test_a_spider_that_is_not_there_ends_the_crawl_with_one_sentence(site, job, module):
    small = site({"/": (200, {"Content-Type": "text/html"}, b"x")})
    with pytest.raises(RecipeError, match="Missing"):
        crawled(job(small.url, item={}, spider=f"{module}:Missing"))
    assert small.hits == []
