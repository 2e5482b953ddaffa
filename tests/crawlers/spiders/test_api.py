"""crawlers.spiders.api: items by JMESPath, and the next page by expression or Link header."""

import json
from typing import Any

import pytest
from fetching import crawled_rows, image, path_of
from scrapy.http import Response

from crawlers.job import Job
from crawlers.spiders import api
from crawlers.spiders.read import API, Link, Read

BASIC = {"items": "data[]", "url": "media.url", "texts": {"caption": "title", "tags": "tags"}, "next": "paging.next"}


def read(answer: Any, headers: dict[str, Any] | None = None, **said: str) -> Read:
    job = Job("file:///x", "s", "f", "l", api={**BASIC, **said})
    return api.read(Response("http://a.org/api", headers=headers, body=json.dumps(answer).encode()), job)


def test_items_texts_and_the_next_page_are_found_by_expressions():
    answer = {
        "data": [{"media": {"url": "/1.png"}, "title": "é", "tags": ["x", "ü"]}, {"media": {"url": "2.png"}}],
        "paging": {"next": "?page=2"},
    }
    assert read(answer) == Read(
        [("/1.png", {"caption": "é", "tags": '["x", "ü"]'}), ("2.png", {"caption": None, "tags": None})],
        [Link("?page=2", API)], [],
    )  # fmt: skip


@pytest.mark.parametrize("answer", [{}, [], None, 7, {"data": None}, {"data": [{}, 3, None, {"media": {"url": 4}}]}])
def test_an_answer_without_items_gives_none(answer):
    assert read(answer) == Read([], [], [])


def test_one_item_need_not_be_in_a_list():
    assert read({"data": {"media": {"url": "/1.png"}}}, items="data").items[0][0] == "/1.png"


@pytest.mark.parametrize(
    ("header", "following"),
    [
        (["<http://a.org/1>; rel=prev, <http://a.org/3>; rel=next"], ["http://a.org/3"]),
        (["</p?a=1,2>; title=x; rel=\"next\""], ["/p?a=1,2"]),
        (["</a>; rel=prev", "</b>; rel=next"], ["/b"]),
        (["</a>; rel=last"], []),
        ([], []),
    ],
)  # fmt: skip
def test_without_an_expression_the_link_header_names_the_next_page(header, following):
    assert [link.url for link in read({}, {"Link": header}, next="").links] == following
    assert read({}, {"Link": header}).links == [], "an expression was given"


def test_what_is_not_json_is_refused():
    with pytest.raises(ValueError, match="Expecting"):
        api.read(Response("http://a.org/", body=b"<html>"), Job("file:///x", "s", "f", "l", api=BASIC))


@pytest.mark.parametrize("by_header", [True, False])
def test_an_api_is_crawled_page_after_page(site, job, by_header):
    def answer(at: int) -> Any:
        headers = {"Link": f'</api?page={at + 1}>; rel="next"'} if by_header and at < 2 else {}
        more = {"next": f"/api?page={at + 1}"} if at < 2 else {}
        body = {"items": [{"url": f"/{at}.png", "text": f"number {at}"}], **more}
        return 200, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()

    small = site({**{f"/api?page={at}": answer(at) for at in range(3)},
                  **{f"/{at}.png": image(b"%d" % at) for at in range(3)}, "/bad": (200, {}, b"not json")})  # fmt: skip
    said = {"start": [small.url + "api?page=0", small.url + "bad"], "items": "items", "texts": {"caption": "text"}}
    got = crawled_rows(job(item={}, api={**said, "next": "" if by_header else "next"}))
    assert {path_of(url): (row["error"], row["payload"], row["caption"]) for url, row in got.items()} == {
        **{f"/{at}.png": (None, b"%d" % at, f"number {at}") for at in range(3)}, "/bad": ("invalid", None, None)
    }  # fmt: skip
